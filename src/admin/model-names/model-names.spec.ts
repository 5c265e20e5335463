import { ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { UpstreamDirectory } from '../../upstreams/upstream-directory';

describe('aliases and fallbacks of models, of the control plane', () => {
  let plane: ControlPlane;
  let directory: UpstreamDirectory;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    directory = plane.app.get(UpstreamDirectory);
    const provider_id = textOf(
      await plane.expectAdmin(201, 'POST', 'providers', {
        name: 'provider',
        kind: 'openai',
        base_url: 'http://127.0.0.1:9/v1',
        api_key: 'sk-test',
      }),
      'id',
    );
    for (const model of ['real', 'vendor/real']) {
      await plane.expectAdmin(201, 'POST', 'upstreams', { provider_id, model, upstream_model: 'm' });
    }
  });
  afterAll(() => plane.stop());

  const listed = async (): Promise<unknown> =>
    (await directory.listModels()).map(({ model, servedModel }) => [model, servedModel]);

  describe('an alias', () => {
    it('names a model at once, also one with a slash, and is audited', async () => {
      const alias = encodeURIComponent('team/fast');
      const made = await plane.expectAdmin(200, 'PUT', `model-aliases/${alias}`, { model: 'vendor/real' });
      expect(made).toMatchObject({ object: 'model_alias', alias: 'team/fast', model: 'vendor/real' });
      expect(await plane.expectAdmin(200, 'GET', `model-aliases/${alias}`)).toEqual(made);
      expect(await directory.modelOf('team/fast')).toBe('vendor/real');
      expect(await listed()).toContainEqual(['team/fast', 'vendor/real']);
      await plane.expectAdmin(200, 'PUT', `model-aliases/${alias}`, { model: 'real' });
      expect(await directory.modelOf('team/fast')).toBe('real');
      const deleted = await plane.expectAdmin(200, 'DELETE', `model-aliases/${alias}`);
      expect(deleted).toEqual({ object: 'model_alias', alias: 'team/fast', deleted: true });
      expect(await directory.modelOf('team/fast')).toBe('team/fast');
      expect((await plane.admin('GET', `model-aliases/${alias}`)).status).toBe(404);
      const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=model_alias&entity_id=${alias}`);
      expect(log).toMatchObject({
        data: [
          { action: 'model_alias.delete', before: { model: 'real' }, after: null },
          { action: 'model_alias.update', before: { model: 'vendor/real' }, after: { model: 'real' } },
          { action: 'model_alias.create', before: null },
        ],
      });
    });

    it('never names an alias, nor is named by one, nor is called like a model that upstreams have', async () => {
      await plane.expectAdmin(200, 'PUT', 'model-aliases/first', { model: 'later-served' });
      const refusals = [
        await plane.admin('PUT', 'model-aliases/second', { model: 'first' }),
        await plane.admin('PUT', 'model-aliases/later-served', { model: 'real' }),
        await plane.admin('PUT', 'model-aliases/real', { model: 'vendor/real' }),
        await plane.admin('PUT', 'model-aliases/same', { model: 'same' }),
      ];
      expect(refusals.map((answer) => [answer.status, errorOf(answer).param])).toEqual([
        [409, 'model'],
        [409, 'alias'],
        [409, 'alias'],
        [400, 'model'],
      ]);
    });

    it('is not made of an alias by two that are saved at once', async () => {
      const answers = await Promise.all([
        plane.admin('PUT', 'model-aliases/x1', { model: 'x2' }),
        plane.admin('PUT', 'model-aliases/x2', { model: 'real' }),
      ]);
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    });

    it('gives way to a model that upstreams have since got under its name', async () => {
      await plane.expectAdmin(200, 'PUT', 'model-aliases/taken', { model: 'real' });
      const [{ provider_id }] = (await plane.query('select provider_id from upstream limit 1')) as [
        { provider_id: string },
      ];
      await plane.expectAdmin(201, 'POST', 'upstreams', { provider_id, model: 'taken', upstream_model: 'm' });
      expect(await directory.modelOf('taken')).toBe('taken');
      expect(await listed()).toEqual(expect.arrayContaining([['taken', 'taken']]));
      expect(await listed()).not.toContainEqual(['taken', 'real']);
    });

    it('is listed by name, in pages', async () => {
      await plane.query('delete from model_alias');
      for (const alias of ['c', 'a', 'b'])
        await plane.expectAdmin(200, 'PUT', `model-aliases/${alias}`, { model: 'real' });
      const first = await plane.expectAdmin(200, 'GET', 'model-aliases?limit=2');
      expect(first).toMatchObject({ data: [{ alias: 'a' }, { alias: 'b' }], has_more: true, next_cursor: 'b' });
      const second = await plane.expectAdmin(200, 'GET', 'model-aliases?limit=2&after=b');
      expect(second).toMatchObject({ data: [{ alias: 'c' }], has_more: false, next_cursor: null });
    });

    it.each([
      ['model-aliases/%20blank', { model: 'real' }, 'alias'],
      ['model-aliases/a%0Ab', { model: 'real' }, 'alias'],
      ['model-aliases/ok', { model: '' }, 'model'],
      ['model-aliases/ok', { model: ' real' }, 'model'],
      ['model-aliases/ok', {}, 'model'],
      ['model-aliases/ok', { model: 'real', alias: 'x' }, 'alias'],
      ['model-fallbacks/real', { fallback_models: [] }, 'fallback_models'],
      ['model-fallbacks/real', { fallback_models: 'x' }, 'fallback_models'],
      ['model-fallbacks/real', { fallback_models: ['x', 'x'] }, 'fallback_models'],
      ['model-fallbacks/real', { fallback_models: ['x', ' '] }, 'fallback_models'],
      ['model-fallbacks/real', { fallback_models: ['real'] }, 'fallback_models'],
      ['model-fallbacks/real', { fallback_models: Array.from({ length: 11 }, (_, i) => `m${i}`) }, 'fallback_models'],
    ])('is refused at %s with %j, naming the field', async (path, body, field) => {
      const answer = await plane.admin('PUT', path, body);
      expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
    });
  });

  describe('a fallback', () => {
    it('stands in for a model in its order, also for the model’s aliases, and is audited', async () => {
      await plane.expectAdmin(200, 'PUT', 'model-aliases/nick', { model: 'real' });
      const set = await plane.expectAdmin(200, 'PUT', 'model-fallbacks/real', { fallback_models: ['b', 'a'] });
      expect(set).toEqual({ object: 'model_fallbacks', model: 'real', fallback_models: ['b', 'a'] });
      expect(await plane.expectAdmin(200, 'GET', 'model-fallbacks/real')).toEqual(set);
      await directory.candidatesOf('real');
      expect([directory.fallbacksOf('real'), directory.fallbacksOf('nick'), directory.fallbacksOf('other')]).toEqual([
        ['b', 'a'],
        ['b', 'a'],
        [],
      ]);
      await plane.expectAdmin(200, 'PUT', 'model-fallbacks/real', { fallback_models: ['c'] });
      await plane.expectAdmin(200, 'DELETE', 'model-fallbacks/real');
      expect((await plane.admin('DELETE', 'model-fallbacks/real')).status).toBe(404);
      await directory.candidatesOf('real');
      expect(directory.fallbacksOf('real')).toEqual([]);
      const log = await plane.expectAdmin(200, 'GET', 'audit-log?entity=model_fallback&entity_id=real');
      expect(log).toMatchObject({
        data: [
          { action: 'model_fallback.delete', before: { fallback_models: ['c'] } },
          { before: { fallback_models: ['b', 'a'] }, after: { fallback_models: ['c'] } },
          { action: 'model_fallback.create', before: null },
        ],
      });
    });

    it('never leads back to the model, however long the way, also when two are saved at once', async () => {
      await plane.expectAdmin(200, 'PUT', 'model-fallbacks/m1', { fallback_models: ['m2', 'z'] });
      await plane.expectAdmin(200, 'PUT', 'model-fallbacks/m2', { fallback_models: ['m3'] });
      const circle = await plane.admin('PUT', 'model-fallbacks/m3', { fallback_models: ['z', 'm1'] });
      expect([circle.status, errorOf(circle).param]).toEqual([409, 'fallback_models']);
      expect(String(errorOf(circle).message)).toContain('m1');
      const answers = await Promise.all([
        plane.admin('PUT', 'model-fallbacks/p', { fallback_models: ['q'] }),
        plane.admin('PUT', 'model-fallbacks/q', { fallback_models: ['p'] }),
      ]);
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    });

    it('is listed by model, in pages of models', async () => {
      await plane.query('delete from model_fallback');
      for (const model of ['n2', 'n1', 'n3']) {
        await plane.expectAdmin(200, 'PUT', `model-fallbacks/${model}`, { fallback_models: ['s', 'r'] });
      }
      const first = await plane.expectAdmin(200, 'GET', 'model-fallbacks?limit=2');
      expect(first).toMatchObject({
        data: [{ model: 'n1', fallback_models: ['s', 'r'] }, { model: 'n2' }],
        has_more: true,
        next_cursor: 'n2',
      });
      expect(await plane.expectAdmin(200, 'GET', 'model-fallbacks?limit=2&after=n2')).toMatchObject({
        data: [{ model: 'n3' }],
        has_more: false,
      });
    });
  });
});
