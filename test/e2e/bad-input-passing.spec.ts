import type { PaidModel } from '../factories/paid-model';
import { createPrice, createUpstream } from '../factories/upstreams';
import type { ServedRecord } from '../simulator/served-log';
import { ALL_HOLD, invariantsOf, MoneyStage } from '../support/money-stage';
import { type RawAnswer, send } from '../support/raw-http';
import type { TestGateway } from '../support/test-gateway';
import { readLedger } from '../support/three-logs';

/** Odd, but a request: what is priced must be what is sent on, byte for byte where nothing has to change. */
describe('a request that is odd but usable', () => {
  let stage: MoneyStage;
  let gateway: TestGateway;
  let paid: PaidModel;

  beforeAll(async () => {
    stage = await MoneyStage.open();
    gateway = await stage.startGateway();
    paid = await stage.paidModel(gateway, { model: 'cheap', tenant: { daily_quota: null, monthly_quota: null } });
    await createUpstream(gateway, { provider_id: paid.providerId, model: 'dear' });
    await createPrice(gateway, { model: 'dear', input_usd_per_mtok: '100', output_usd_per_mtok: '200' });
    await createUpstream(gateway, { provider_id: paid.providerId, model: 'alias', upstream_model: 'name-at-provider' });
    await createPrice(gateway, { model: 'alias' });
  }, 60_000);

  afterAll(() => stage.close(), 30_000);

  afterEach(async () => {
    await stage.quiet([paid.tenantId]);
    stage.simulator.reset();
    expect(await invariantsOf(gateway)).toEqual(ALL_HOLD);
  });

  function post(body: string): Promise<RawAnswer> {
    const headers = { authorization: `Bearer ${paid.key}`, 'content-type': 'application/json' };
    return send(gateway.url, { body, headers });
  }

  /** What the provider got, once the answer was there. */
  async function served(body: string): Promise<ServedRecord> {
    const answer = await post(body);
    expect([answer.status, answer.text.slice(0, 200)]).toEqual([200, expect.any(String)]);
    const [record, ...others] = stage.simulator.served();
    expect(others).toEqual([]);
    if (record === undefined) throw new Error('the provider was not called');
    return record;
  }

  it('reaches the provider byte for byte, with fields nobody knows and numbers no double holds', async () => {
    const body =
      '{ "model" :"cheap",\n\t"messages":[{"role":"user","content":"h\\u00e9llo \\ud83d\\ude00","weight":0.10}],' +
      '"big":12345678901234567890123,"exp":1E400,"zero":-0.0,"x_new":{"deep":[[[null]]],"":""},"metadata":null}';
    expect((await served(body)).body).toBe(body);
  });

  it('reaches the provider with nothing changed but what a stream needs, and its own name for the model', async () => {
    const record = await served(
      '{"model":"alias","stream":true,"messages":[{"role":"user","content":"hi"}],"big":12345678901234567890123}',
    );
    expect(record.body).toBe(
      '{"model":"name-at-provider","stream":true,"messages":[{"role":"user","content":"hi"}],' +
        '"big":12345678901234567890123,"stream_options":{"include_usage":true}}',
    );
  });

  it.each([
    ['the cheap model last', '{"model":"dear","messages":[{"role":"user","content":"hi"}],"model":"cheap"}', 'cheap'],
    ['the dear model last', '{"model":"cheap","messages":[{"role":"user","content":"hi"}],"model":"dear"}', 'dear'],
    [
      'one written with escapes',
      '{"model":"cheap","messages":[{"role":"user","content":"hi"}],"mod\\u0065l":"dear"}',
      'dear',
    ],
    [
      'limits twice',
      '{"max_tokens":1,"model":"cheap","messages":[{"role":"user","content":"hi"}],"max_tokens":7,"n":1,"n":2}',
      'cheap',
    ],
  ])('is priced by what is sent where keys are doubled: %s', async (_, body, model) => {
    const record = await served(body);
    const keys = [...record.body.matchAll(/"(model|max_tokens|n)":/g)].map(([, key]) => key);
    expect(new Set(keys).size).toBe(keys.length);
    expect(JSON.parse(record.body)).toEqual(JSON.parse(body));
    expect(record.model).toBe(model);
    await stage.quiet([paid.tenantId]);
    const row = (await readLedger(stage.pool, [paid.tenantId])).at(-1);
    const perToken = model === 'dear' ? [100_000n, 200_000n, 0n] : [1_000n, 2_000n, 100_000n];
    const [input = 0n, output = 0n, perRequest = 0n] = perToken;
    const { prompt_tokens: prompt = 0, completion_tokens: completion = 0 } = record.usage ?? {};
    expect(row?.amount).toBe(BigInt(prompt) * input + BigInt(completion) * output + perRequest);
  });

  it('carries headers of the client no further than the gateway', async () => {
    const headers = {
      authorization: `Bearer ${paid.key}`,
      'content-type': 'application/json',
      'x-request-id': 'mine',
      cookie: 'session=1',
      'x-forwarded-for': '10.0.0.1',
      'openai-organization': 'org-mine',
    };
    const body = '{"model":"cheap","messages":[{"role":"user","content":"hi"}]}';
    const first = await send(gateway.url, { body, headers });
    const second = await send(gateway.url, { body, headers });
    expect([first.status, second.status]).toEqual([200, 200]);
    // A repeated id of the client's neither fails nor rides free.
    expect(first.headers['x-request-id']).not.toBe(second.headers['x-request-id']);
    for (const record of stage.simulator.served()) {
      const own = ['cookie', 'x-forwarded-for', 'openai-organization'];
      expect(Object.keys(record.headers).filter((name) => own.includes(name))).toEqual([]);
      expect(JSON.stringify(record.headers)).not.toContain('mine');
    }
    await stage.quiet([paid.tenantId]);
    const rows = await readLedger(stage.pool, [paid.tenantId]);
    const traces = rows.slice(-2).map(({ traceId }) => traceId);
    expect(traces.sort()).toEqual([first.headers['x-request-id'], second.headers['x-request-id']].sort());
  });
});
