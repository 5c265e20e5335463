import { Pool } from 'pg';
import { adminCall } from '../factories/admin-client';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import type { BookedCharge } from '../support/charge-book';
import { eventually } from '../support/eventually';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { apiErrorOf, openAiClient } from '../support/openai-caller';
import {
  allRowsAsText,
  hangUpAfterFirstByte,
  type KeyedAnswer,
  keyedCall,
  newKey,
  textOf,
  topUp,
} from '../support/keyed-call';
import { metricOf } from '../support/plain-call';
import type { TestGateway } from '../support/test-gateway';

const PROMPT = 'canary-prompt-3f9a';
const TEXT = 'canary-answer-77c1 is what was said, and every byte of it is said again';
const AT_ONCE = 100;

describe('a call with an Idempotency-Key', () => {
  let stack: GatewayStack;
  let gateway: TestGateway;
  let other: TestGateway;
  let paid: PaidModel;
  let pool: Pool;

  beforeAll(async () => {
    stack = await startGatewayStack([{ LOG_LEVEL: 'debug' }, { DISCONNECT_POLICY: 'cut', LOG_LEVEL: 'debug' }]);
    const [first, second] = stack.gateways;
    if (!first || !second) throw new Error('two gateways were asked for');
    [gateway, other] = [first, second];
    pool = new Pool({ connectionString: stack.databaseUrl, max: 2 });
    paid = await createPaidModel(gateway, {
      baseUrl: `${stack.simulator.url}/v1`,
      tenant: { initial_balance_usd: '100', daily_quota: null, monthly_quota: null },
    });
  }, 120_000);

  afterAll(async () => {
    await pool.end();
    await stack.close();
  });

  function bodyOf(simulate: object = {}, fields: object = {}): string {
    const messages = [{ role: 'user', content: PROMPT }];
    return JSON.stringify({ model: paid.model, messages, ...fields, x_simulate: { text: TEXT, ...simulate } });
  }

  function send(
    idempotencyKey: string,
    body: string,
    { to = gateway, apiKey = paid.key }: { to?: TestGateway; apiKey?: string } = {},
  ): Promise<KeyedAnswer> {
    return keyedCall(to, { apiKey, idempotencyKey, body });
  }

  const traceOf = ({ headers }: KeyedAnswer): string => headers.get('x-request-id') ?? '';
  const chargesOf = async (traces: readonly string[]): Promise<readonly BookedCharge[]> =>
    (await stack.book.ofTenant(paid.tenantId)).filter(({ traceId }) => traces.includes(traceId));
  const balance = async (): Promise<unknown> => await adminCall(gateway, 'GET', `tenants/${paid.tenantId}`);

  describe.each([
    ['whole', {}],
    ['streamed', { stream: true }],
    ['streamed, with usage shown', { stream: true, stream_options: { include_usage: true } }],
  ])('%s', (_, fields) => {
    it('is answered with the same bytes on any process, and only the first costs and reaches the provider', async () => {
      const [key, body] = [newKey(), bodyOf({}, fields)];
      const served = stack.simulator.served().length;
      const first = await send(key, body);
      await stack.book.ended(traceOf(first));
      const before = await balance();
      const hits = (await metricOf(other, 'billing_idempotent_hit_total')).get('') ?? 0;
      for (const to of [gateway, other]) {
        const again = await send(key, body, { to });
        expect(again.bytes.equals(first.bytes)).toBe(true);
        expect(again.status).toBe(200);
        expect(traceOf(again)).not.toBe(traceOf(first));
        expect(await chargesOf([traceOf(again)])).toEqual([]);
        const told = (name: string): readonly (string | null)[] => [again.headers.get(name), first.headers.get(name)];
        expect(told('idempotent-replayed')).toEqual(['true', null]);
        expect(told('x-tollgate-original-request-id')).toEqual([traceOf(first), null]);
        for (const name of ['content-type', 'x-tollgate-upstream', 'x-tollgate-balance-usd']) {
          expect(told(name)[0]).toBe(told(name)[1]);
        }
        expect(again.headers.get('x-ratelimit-limit-requests')).toBeNull();
      }
      expect(await balance()).toEqual(before);
      expect((await metricOf(other, 'billing_idempotent_hit_total')).get('')).toBe(hits + 1);
      expect(stack.simulator.served().length).toBe(served + 1);
      const [charge] = await chargesOf([traceOf(first)]);
      expect(charge?.status).toBe('COMMITTED');
      expect(first.bytes.toString('utf8')).toContain('stream' in fields ? 'data: [DONE]\n\n' : TEXT);
    });
  });

  it('tells in a replayed stream what the first one cost, before the last frame', async () => {
    const [key, body] = [newKey(), bodyOf({}, { stream: true })];
    const first = (await send(key, body)).bytes.toString('utf8');
    expect(first).toMatch(/: tollgate cost_usd=0\.\d{9}[^\n]*\n\ndata: \[DONE\]\n\n$/);
    expect((await send(key, body)).bytes.toString('utf8')).toBe(first);
  });

  it('is the same through the official client, whole and streamed', async () => {
    const { client } = openAiClient(gateway, paid.key);
    const messages = [{ role: 'user' as const, content: PROMPT }];
    const options = { headers: { 'Idempotency-Key': newKey() } };
    const [first, again] = [
      await client.chat.completions.create({ model: paid.model, messages }, options),
      await client.chat.completions.create({ model: paid.model, messages }, options),
    ];
    expect(again).toEqual(first);
    const streamed = { headers: { 'Idempotency-Key': newKey() } };
    const chunksOf = async (): Promise<unknown[]> => {
      const stream = await client.chat.completions.create({ model: paid.model, messages, stream: true }, streamed);
      const chunks: unknown[] = [];
      for await (const chunk of stream) chunks.push(chunk);
      return chunks;
    };
    const chunks = await chunksOf();
    expect(chunks.length).toBeGreaterThan(2);
    expect(await chunksOf()).toEqual(chunks);
  });

  it.each([
    ['whole', {}],
    ['streamed', { stream: true }],
  ])(
    `sent ${AT_ONCE} times at once, %s, is charged once: the others are told to wait, then get the answer`,
    async (_, fields) => {
      const [key, body] = [newKey(), bodyOf({ headersDelayMs: 700 }, fields)];
      const seen = await Promise.all(
        Array.from({ length: AT_ONCE }, (__, at) => send(key, body, { to: at % 2 === 0 ? gateway : other })),
      );
      const firsts = seen.filter(({ status, headers }) => status === 200 && !headers.has('idempotent-replayed'));
      expect(firsts).toHaveLength(1);
      const waiting = seen.filter(({ status }) => status === 409);
      expect(waiting.length).toBeGreaterThan(AT_ONCE / 2);
      for (const { code, headers } of waiting) {
        expect([code, headers.get('retry-after'), headers.get('x-should-retry')]).toEqual([
          'IDEMPOTENCY_KEY_IN_USE',
          '1',
          'true',
        ]);
      }
      expect(new Set(seen.map(({ status }) => status))).toEqual(new Set([200, 409]));
      const again = await send(key, body);
      expect(firsts[0] && again.bytes.equals(firsts[0].bytes)).toBe(true);
      const charges = await chargesOf([...seen, again].map(traceOf));
      expect(charges.map(({ status }) => status)).toEqual(['COMMITTED']);
    },
  );

  it('is refused with 422 where another body came with the key, even one that means the same', async () => {
    const key = newKey();
    const first = await send(key, bodyOf());
    const otherBody = await send(key, ` ${bodyOf()}`);
    expect([first.status, otherBody.status, otherBody.code]).toEqual([200, 422, 'IDEMPOTENCY_KEY_REUSED']);
    expect((await send(key, bodyOf())).bytes.equals(first.bytes)).toBe(true);
  });

  it.each([
    ['empty', ''],
    ['longer than 255 characters', 'k'.repeat(256)],
    ['with a space in it', 'a b'],
    ['with letters beyond ASCII', 'sch\u00fcssel'],
  ])('is refused with 400 that names the header where the key is %s', async (_, key) => {
    const seen = await send(key, bodyOf());
    expect([seen.status, seen.code]).toEqual([400, 'INVALID_REQUEST']);
    expect(JSON.parse(seen.bytes.toString('utf8'))).toMatchObject({ error: { param: 'Idempotency-Key' } });
  });

  it('takes a key of 255 characters, and each API key has keys of its own', async () => {
    const key = '~'.repeat(255);
    const { key: sibling } = await createApiKey(gateway, paid.tenantId);
    const seen = [await send(key, bodyOf()), await send(key, bodyOf(), { apiKey: sibling })];
    expect(seen.map(({ status, headers }) => [status, headers.get('idempotent-replayed')])).toEqual([
      [200, null],
      [200, null],
    ]);
    expect(await chargesOf(seen.map(traceOf))).toHaveLength(2);
  });

  it('frees its key where it was not charged: 402, 4xx and 5xx are not kept', async () => {
    const poor = await createPaidModel(gateway, {
      baseUrl: `${stack.simulator.url}/v1`,
      model: 'for-the-poor',
      tenant: { initial_balance_usd: '0' },
    });
    const body = bodyOf({}, { model: 'for-the-poor' });
    const key = newKey();
    expect((await send(key, body, { apiKey: poor.key })).status).toBe(402);
    await topUp(gateway, poor.tenantId);
    const paidFor = await eventually('the top-up is known', async () => {
      const seen = await send(key, body, { apiKey: poor.key });
      return seen.status === 200 ? seen : undefined;
    });
    expect(paidFor.headers.get('idempotent-replayed')).toBeNull();

    for (const [status, expected] of [
      [400, 400],
      [500, 502],
    ] as const) {
      const failing = newKey();
      const script = bodyOf({ fail: { status } });
      const seen = [await send(failing, script), await send(failing, script), await send(failing, bodyOf())];
      expect(seen.map((one) => one.status)).toEqual([expected, expected, 200]);
      const charges = await chargesOf(seen.map(traceOf));
      expect(charges.map((charge) => charge.status).sort()).toEqual(['COMMITTED', 'VOIDED', 'VOIDED']);
    }
  });

  it('keeps a stream whole whose client left, where it is read to its end: the retry gets all of it', async () => {
    const [key, body] = [newKey(), bodyOf({ paceMs: 20 }, { stream: true })];
    await hangUpAfterFirstByte(gateway, { apiKey: paid.key, idempotencyKey: key, body });
    const retried = await eventually('the abandoned stream has ended', async () => {
      const seen = await send(key, body);
      return seen.status === 200 ? seen : undefined;
    });
    expect(retried.headers.get('idempotent-replayed')).toBe('true');
    const text = retried.bytes.toString('utf8');
    expect(textOf(text)).toBe(TEXT);
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    const original = retried.headers.get('x-tollgate-original-request-id') ?? '';
    expect(await stack.book.ended(original)).toMatchObject({ status: 'COMMITTED', endReason: 'client_left_drained' });
  });

  it('replays what was delivered, and never a clean end, where the stream was cut with its client', async () => {
    const [key, body] = [newKey(), bodyOf({ paceMs: 20 }, { stream: true })];
    await hangUpAfterFirstByte(other, { apiKey: paid.key, idempotencyKey: key, body });
    const retried = await eventually('the cut stream has ended', async () => {
      const seen = await send(key, body);
      return seen.status === 200 ? seen : undefined;
    });
    const text = retried.bytes.toString('utf8');
    expect(text).toContain('"code":"CLIENT_CLOSED_REQUEST"');
    expect(text).not.toContain('[DONE]');
  });

  it('replays the error event of a stream that broke, which was charged as delivered', async () => {
    const [key, body] = [newKey(), bodyOf({ resetAt: 4 }, { stream: true })];
    const first = await send(key, body);
    expect(first.code).toBe('UPSTREAM_ERROR');
    const again = await send(key, body);
    expect(again.bytes.equals(first.bytes)).toBe(true);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  });

  it('replays a stream that the guard cut, whose end the client was told as a whole', async () => {
    const tenantId = await createTenant(gateway, { initial_balance_usd: '0.001', daily_quota: null });
    const { key: apiKey } = await createApiKey(gateway, tenantId);
    const outgrowing = { text: undefined, tokens: 2_000, promptTokens: 8, ignoresMaxTokens: true };
    const fields = { stream: true, max_completion_tokens: 100, stream_options: { include_usage: true } };
    const [key, body] = [newKey(), bodyOf(outgrowing, fields)];
    const first = await send(key, body, { apiKey });
    expect(first.bytes.toString('utf8')).toMatch(
      /"finish_reason":"length"[^]*: tollgate stream_guard=cut[^]*\[DONE\]\n\n$/,
    );
    expect((await stack.book.ended(traceOf(first))).endReason).toBe('guard_cut');
    const again = await send(key, body, { apiKey });
    expect(again.bytes.equals(first.bytes)).toBe(true);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  });

  it('is told that its answer was too large to keep, and is not charged again', async () => {
    for (const fields of [{}, { stream: true }]) {
      const [key, body] = [newKey(), bodyOf({ text: 'x'.repeat(1_200_000), chunks: 20, completionTokens: 10 }, fields)];
      const first = await send(key, body);
      expect(first.status).toBe(200);
      await stack.book.ended(traceOf(first));
      const again = await send(key, body);
      expect([again.status, again.code]).toEqual([409, 'IDEMPOTENCY_ANSWER_NOT_KEPT']);
      expect(again.headers.get('x-should-retry')).toBe('false');
      expect(again.bytes.toString('utf8')).toContain(traceOf(first));
      expect(await chargesOf([first, again].map(traceOf))).toHaveLength(1);
    }
  });

  it('may be quoted as often as is liked: a quote knows no keys', async () => {
    const key = newKey();
    const quote = (): Promise<Response> =>
      fetch(`${gateway.url}/v1/quote`, {
        method: 'POST',
        headers: { authorization: `Bearer ${paid.key}`, 'content-type': 'application/json', 'idempotency-key': key },
        body: bodyOf(),
      });
    expect([(await quote()).status, (await quote()).status]).toEqual([200, 200]);
    expect((await send(key, bodyOf())).headers.get('idempotent-replayed')).toBeNull();
  });

  it('is in the request log under an id of its own, as replayed', async () => {
    const [key, body] = [newKey(), bodyOf()];
    await send(key, body);
    const trace = traceOf(await send(key, body));
    const row = await eventually('the replay is logged', async () => {
      const { rows } = await pool.query<object>('select * from request_log where id = $1', [trace]);
      return rows[0];
    });
    expect(row).toMatchObject({ status: 200, end_reason: 'replayed', error_code: null, model: paid.model });
  });

  it('leaves neither prompt nor answer nor key in clear, in any log or table', async () => {
    const [key, body] = [`canary-key-${process.pid}-91d2`, bodyOf({}, { stream: true })];
    await send(key, body);
    await send(key, body);
    await send(key, ` ${body}`);
    const everything = await eventually('the calls are logged', async () => {
      const text = await allRowsAsText(pool);
      return text.includes('replayed') ? text : undefined;
    });
    for (const canary of [PROMPT, 'canary-answer', key]) {
      expect(everything).not.toContain(canary);
      expect(everything).not.toContain(Buffer.from(canary).toString('hex'));
      for (const { logs } of stack.gateways) expect(logs()).not.toContain(canary);
    }
  });

  it('leaves the books exact', async () => {
    expect(await brokenInvariants(gateway)).toEqual([]);
  });

  it('is retried by the official client while the first one runs, until it gets its answer', async () => {
    const [key, messages] = [newKey(), [{ role: 'user' as const, content: PROMPT }]];
    const { client, httpCalls } = openAiClient(gateway, paid.key, { maxRetries: 4 });
    const ask = (): Promise<{ id: string }> =>
      client.chat.completions.create(
        // @ts-expect-error the simulator's own field
        { model: paid.model, messages, x_simulate: { headersDelayMs: 1_500 } },
        { headers: { 'Idempotency-Key': key } },
      );
    const [first, second] = await Promise.all([ask(), ask()]);
    expect(second).toEqual(first);
    expect(httpCalls()).toBeGreaterThan(2);
    const impatient = openAiClient(gateway, paid.key, { maxRetries: 0 });
    const error = await apiErrorOf(
      impatient.client.chat.completions.create(
        { model: paid.model, messages },
        { headers: { 'Idempotency-Key': key } },
      ),
    );
    expect([error.status, error.code]).toEqual([422, 'IDEMPOTENCY_KEY_REUSED']);
  });
});
