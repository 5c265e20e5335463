import { type Simulator, startSimulator } from '../../../test/simulator/simulator';
import { ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { newId } from '../../kernel/ids';
import { Router } from '../../routing/router';
import { UpstreamDirectory } from '../../upstreams/upstream-directory';

const SECRET = 'sk-provider-canary-5c1d0';

describe('how upstreams do, of the control plane', () => {
  let plane: ControlPlane;
  let simulator: Simulator;
  let providerId: string;

  beforeAll(async () => {
    [plane, simulator] = await Promise.all([ControlPlane.start(), startSimulator()]);
    providerId = await newProvider('openai', `${simulator.url}/v1`);
  });
  afterAll(async () => {
    await plane.stop();
    await simulator.close();
  });

  async function newProvider(kind: string, base_url: string, fields: object = {}): Promise<string> {
    const body = { name: `provider ${newId()}`, kind, base_url, api_key: SECRET, ...fields };
    return textOf(await plane.expectAdmin(201, 'POST', 'providers', body), 'id');
  }

  async function newUpstream(model: string, fields: object = {}): Promise<string> {
    const body = { provider_id: providerId, model, upstream_model: `vendor/${model}`, ...fields };
    return textOf(await plane.expectAdmin(201, 'POST', 'upstreams', body), 'id');
  }

  it('is told of one that was never called', async () => {
    const id = await newUpstream('fresh', { region: 'eu', max_concurrency: 7 });
    expect(await plane.expectAdmin(200, 'GET', `upstreams/${id}/health`)).toEqual({
      object: 'upstream_health',
      id,
      provider_id: providerId,
      name: expect.any(String) as string,
      model: 'fresh',
      region: 'eu',
      enabled: true,
      in_flight: 0,
      max_concurrency: 7,
      breaker: 'closed',
      open_until: null,
      cooling_until: null,
      success_rate: 1,
      first_byte_ms: null,
      health: 1,
      shared: { open_until: null, cooling_until: null },
    });
  });

  it('is told of one that fails, with what all processes share; and in the list', async () => {
    const id = await newUpstream('failing');
    const router = plane.app.get(Router);
    const [upstream] = (await plane.app.get(UpstreamDirectory).candidatesOf('failing')) ?? [];
    if (!upstream) throw new Error('no such upstream');
    const seats = Array.from({ length: 6 }, () => router.take(upstream));
    for (const seat of seats.slice(1)) seat?.leave({ kind: 'status', status: 503, retryAfterMs: 60_000 });
    const health = await plane.expectAdmin(200, 'GET', `upstreams/${id}/health`);
    expect(health).toMatchObject({ breaker: 'open', in_flight: 1, success_rate: 0.5905, first_byte_ms: null });
    const inFuture = (value: unknown): boolean => typeof value === 'string' && Date.parse(value) > Date.now();
    expect([health.open_until, health.cooling_until].map(inFuture)).toEqual([true, true]);
    const shared = health.shared as Record<string, unknown>;
    expect([shared.open_until, shared.cooling_until].map(inFuture)).toEqual([true, true]);
    const list = await plane.expectAdmin(200, 'GET', 'upstreams/health?model=failing');
    expect(list).toMatchObject({ object: 'list', data: [{ id, breaker: 'open' }], has_more: false });
  });

  it('are of upstreams that exist', async () => {
    const unknown = newId();
    expect((await plane.admin('GET', `upstreams/${unknown}/health`)).status).toBe(404);
    expect((await plane.admin('POST', `upstreams/${unknown}/test`)).status).toBe(404);
    expect((await plane.admin('POST', 'upstreams/x/test')).status).toBe(400);
  });

  describe('a test', () => {
    it('is one call with a token of answer, also of a disabled upstream, charged to nobody and audited', async () => {
      const id = await newUpstream('tested', { enabled: false });
      const tested = await plane.expectAdmin(200, 'POST', `upstreams/${id}/test`);
      expect(tested).toEqual({
        object: 'upstream_test',
        id,
        ok: true,
        status: 200,
        latency_ms: expect.any(Number) as number,
        model: 'vendor/tested',
        dialect: 'openai-chat',
        error: null,
      });
      const [served, ...others] = simulator.served().filter(({ model }) => model === 'vendor/tested');
      expect(others).toEqual([]);
      expect(JSON.parse(served?.body ?? '')).toMatchObject({ model: 'vendor/tested', max_tokens: 1 });
      expect(await plane.query('select from billing_transaction')).toEqual([]);
      const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=upstream&entity_id=${id}`);
      expect(log).toMatchObject({
        data: [{ action: 'upstream.test', after: { ok: true } }, { action: 'upstream.create' }],
      });
    });

    it('is in the provider’s dialect', async () => {
      const provider_id = await newProvider('anthropic', simulator.url);
      const id = await newUpstream('claude', { provider_id });
      const answer = await plane.expectAdmin(200, 'POST', `upstreams/${id}/test`);
      expect(answer).toMatchObject({ ok: true, dialect: 'anthropic-messages' });
      expect(simulator.served().at(-1)).toMatchObject({ url: '/v1/messages' });
    });

    it('tells what the provider says, without what names our account, and moves no breaker', async () => {
      const id = await newUpstream('refused');
      const message = `Incorrect API key provided: ${SECRET}. You can find yours at https://provider.example/keys.`;
      simulator.script('vendor/refused', { fail: { status: 401, message } });
      for (let call = 0; call < 6; call += 1) {
        const tested = await plane.expectAdmin(200, 'POST', `upstreams/${id}/test`);
        expect(tested).toMatchObject({ ok: false, status: 401 });
        expect(String(tested.error)).toMatch(/^Incorrect API key provided: \[removed\]/);
        expect(JSON.stringify(tested)).not.toContain('canary');
      }
      const health = await plane.expectAdmin(200, 'GET', `upstreams/${id}/health`);
      expect(health).toMatchObject({ breaker: 'closed', cooling_until: null, success_rate: 1 });
    });

    it('tells how a call failed that got no answer', async () => {
      const provider_id = await newProvider('openai', 'http://127.0.0.1:9/v1');
      const id = await newUpstream('nowhere', { provider_id });
      const tested = await plane.expectAdmin(200, 'POST', `upstreams/${id}/test`);
      expect(tested).toMatchObject({ ok: false, status: null, error: 'connect' });
    });
  });

  it.each([
    [{ max_concurrency: 0 }, 'max_concurrency'],
    [{ max_concurrency: 1.5 }, 'max_concurrency'],
    [{ region: '' }, 'region'],
    [{ region: 'EU west' }, 'region'],
  ])('upstreams refuse %j and name the field', async (fields, field) => {
    const body = { provider_id: providerId, model: 'm', upstream_model: 'm', ...fields };
    const answer = await plane.admin('POST', 'upstreams', body);
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
  });

  it('limits and regions are lifted with null', async () => {
    const id = await newUpstream('lifted', { region: 'eu', max_concurrency: 7 });
    const lifted = await plane.expectAdmin(200, 'PATCH', `upstreams/${id}`, { region: null, max_concurrency: null });
    expect(lifted).toMatchObject({ region: null, max_concurrency: null });
  });
});
