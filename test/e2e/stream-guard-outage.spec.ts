import { Client } from 'pg';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { type Simulator, startSimulator } from '../simulator/simulator';
import { ChargeBook } from '../support/charge-book';
import { brokenInvariants } from '../support/gateway-stack';
import { metricOf } from '../support/plain-call';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startGateway, type TestGateway } from '../support/test-gateway';
import { startTestRedis, type TestRedis } from '../support/test-redis';

const WORDS = 400;
const TEXT = Array.from({ length: WORDS }, () => 'word').join(' ');
const WHOLE_NANO_USD = 8_000n + BigInt(WORDS) * 2_000n;

/** With money for a thousand such streams: nothing but an outage can refuse a larger hold. */
describe('a stream whose larger hold nobody can grant', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let simulator: Simulator;
  let gateway: TestGateway;
  let book: ChargeBook;
  let paid: PaidModel;

  beforeAll(async () => {
    [database, redis, simulator] = await Promise.all([createTestDatabase(), startTestRedis(), startSimulator()]);
    const env = { LOG_LEVEL: 'warn', BILLING_WAIT_MS: '400' };
    gateway = await startGateway({ databaseUrl: database.url, redisUrl: redis.url, env });
    book = new ChargeBook(database.url);
    paid = await createPaidModel(gateway, { baseUrl: `${simulator.url}/v1` });
    simulator.script(paid.model, { text: TEXT, promptTokens: 8, ignoresMaxTokens: true, paceMs: 4 });
  }, 120_000);

  afterAll(async () => {
    await gateway.stop();
    await Promise.all([book.close(), simulator.close(), redis.stop()]);
    await database.drop();
  }, 30_000);

  /** Reads a stream; `meanwhile` runs once its first word has come. */
  async function stream(meanwhile: () => Promise<void>): Promise<{ text: string; words: number; traceId: string }> {
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${paid.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: paid.model,
        messages: [{ role: 'user', content: 'Hello' }],
        max_completion_tokens: 100,
        stream: true,
      }),
    });
    const decoder = new TextDecoder();
    let text = '';
    let started: Promise<void> | undefined;
    for await (const part of response.body ?? []) {
      text += decoder.decode(part as Uint8Array, { stream: true });
      if (text.includes('word')) started ??= meanwhile();
    }
    await started;
    const words = text.match(/"content":" ?word"/g)?.length ?? 0;
    return { text, words, traceId: response.headers.get('x-request-id') ?? '' };
  }

  it('is cut while its row cannot be written, ends cleanly, and is charged as soon as it can', async () => {
    const blocker = new Client({ connectionString: database.url });
    await blocker.connect();
    await blocker.query('begin');
    const { text, words, traceId } = await stream(async () => {
      await blocker.query(`select 1 from billing_transaction where tenant_id = $1 for update`, [paid.tenantId]);
    });
    expect(text).toContain('"finish_reason":"length"');
    expect(text).toContain(': tollgate stream_guard=cut limit=unavailable\n\n');
    // Nobody has committed a cost that could be told.
    expect(text).not.toContain('cost_usd');
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    await blocker.query('rollback');
    await blocker.end();
    const charge = await book.ended(traceId);
    expect(charge).toMatchObject({ status: 'COMMITTED', endReason: 'guard_cut', method: 'tokenizer' });
    expect(charge.amountNanoUsd).toBe(8_000n + BigInt(words) * 2_000n);
    expect(words).toBeLessThan(130);
    expect(
      (await metricOf(gateway, 'tollgate_stream_extensions_total')).get('{outcome="unavailable"}'),
    ).toBeGreaterThan(0);
    expect(await brokenInvariants(gateway)).toEqual([]);
  });

  it('is whole again afterwards', async () => {
    const { words, traceId } = await stream(() => Promise.resolve());
    expect(words).toBe(WORDS);
    expect(await book.ended(traceId)).toMatchObject({ amountNanoUsd: WHOLE_NANO_USD, endReason: 'complete' });
    expect(await brokenInvariants(gateway)).toEqual([]);
  });

  it('is never charged beyond what was held where Redis goes away in its middle, and ends cleanly', async () => {
    const { text, words, traceId } = await stream(() => redis.kill9());
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    await redis.restart();
    const charge = await book.ended(traceId);
    expect(charge.status).toBe('COMMITTED');
    // Postgres may have taken over in time: then it goes on.
    if (words === WORDS) expect(charge).toMatchObject({ amountNanoUsd: WHOLE_NANO_USD, endReason: 'complete' });
    else expect(text).toContain(': tollgate stream_guard=cut limit=unavailable\n\n');
    expect(charge.amountNanoUsd).toBeLessThanOrEqual(charge.holdNanoUsd);
  });
});
