import { ControlPlane, errorOf, textOf } from '../../test/support/control-plane-harness';

describe('GET /v1/models', () => {
  let plane: ControlPlane;
  let keys: { readonly all: string; readonly some: string };

  beforeAll(async () => {
    plane = await ControlPlane.start();
    const provider = await plane.expectAdmin(201, 'POST', 'providers', {
      name: 'p',
      kind: 'openai',
      base_url: 'http://127.0.0.1:9/v1',
      api_key: 'sk-x',
    });
    const offer = (model: string, enabled: boolean): Promise<unknown> =>
      plane.expectAdmin(201, 'POST', 'upstreams', {
        provider_id: textOf(provider, 'id'),
        model,
        upstream_model: 'm',
        enabled,
      });
    await offer('gpt-b', true);
    await offer('gpt-a', true);
    await offer('gpt-a', false);
    await offer('meta/llama-3', true);
    await offer('off', false);
    const tenantId = await plane.newTenant();
    const all = await plane.newKey(tenantId);
    const some = await plane.newKey(tenantId, { allowed_models: ['gpt-b', 'off', 'nowhere'] });
    keys = { all: all.key, some: some.key };
  });
  afterAll(() => plane.stop());

  const get = (path: string, key: string, headers: object = {}): ReturnType<ControlPlane['call']> =>
    plane.call('GET', path, undefined, { authorization: `Bearer ${key}`, ...headers });

  it('lists what an enabled upstream serves, whole, whatever the limit', async () => {
    for (const query of ['', '?limit=1', '?limit=1000&after=x']) {
      const { status, body } = await get(`/v1/models${query}`, keys.all);
      expect(status).toBe(200);
      expect(body).toMatchObject({ object: 'list' });
      expect((body.data as { id: string }[]).map(({ id }) => id)).toEqual(['gpt-a', 'gpt-b', 'meta/llama-3']);
      const [first] = body.data as object[];
      expect(first).toEqual({
        id: 'gpt-a',
        object: 'model',
        created: expect.any(Number) as unknown,
        owned_by: 'tollgate',
      });
    }
  });

  it('shows a key only what it may ask for', async () => {
    const { body } = await get('/v1/models', keys.some);
    expect((body.data as { id: string }[]).map(({ id }) => id)).toEqual(['gpt-b']);
    const answer = await get('/v1/models/gpt-a', keys.some);
    expect([answer.status, errorOf(answer).code]).toEqual([404, 'MODEL_NOT_FOUND']);
  });

  it('finds one model by its name, slashes and escapes included', async () => {
    for (const name of ['gpt-a', 'meta/llama-3', 'meta%2Fllama-3']) {
      const { status, body } = await get(`/v1/models/${name}`, keys.all);
      expect([name, status, body.id]).toEqual([name, 200, decodeURIComponent(name)]);
    }
    expect((await get('/v1/models/off', keys.all)).status).toBe(404);
  });

  it('speaks Anthropic’s shape to Anthropic’s clients', async () => {
    const headers = { 'anthropic-version': '2023-06-01' };
    const { body } = await get('/v1/models?limit=20', keys.all, headers);
    expect(body).toMatchObject({ has_more: false, first_id: 'gpt-a', last_id: 'meta/llama-3' });
    const [first] = body.data as object[];
    expect(first).toEqual({
      type: 'model',
      id: 'gpt-a',
      display_name: 'gpt-a',
      created_at: expect.any(String) as unknown,
    });
    expect((await get('/v1/models/gpt-b', keys.all, headers)).body).toMatchObject({ type: 'model', id: 'gpt-b' });
  });

  it('asks for a key', async () => {
    for (const path of ['/v1/models', '/v1/models/gpt-a', '/v1/balance']) {
      const answer = await plane.call('GET', path);
      expect([answer.status, errorOf(answer).code]).toEqual([401, 'INVALID_API_KEY']);
    }
  });

  it('follows an upstream that is switched off', async () => {
    const { data } = await plane.expectAdmin(200, 'GET', 'upstreams?model=gpt-b');
    const id = textOf((data as Record<string, unknown>[])[0] ?? {}, 'id');
    await plane.expectAdmin(200, 'PATCH', `upstreams/${id}`, { enabled: false });
    expect((await get('/v1/models', keys.some)).body.data).toEqual([]);
  });
});
