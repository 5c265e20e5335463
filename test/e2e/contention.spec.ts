import { setTimeout as delay } from 'node:timers/promises';
import { type AdminAccess } from '../factories/admin-client';
import type { PaidModel } from '../factories/paid-model';
import { ClientLog, type ClientRecord, errorOf } from '../support/client-log';
import { extent } from '../support/extent';
import { ALL_HOLD, invariantsOf, MoneyStage, until } from '../support/money-stage';
import type { TestGateway } from '../support/test-gateway';
import { compareLogs, type KnownPrice, readLedger } from '../support/three-logs';

const CALLS = 1_000;
const AFFORDABLE = 100;
/** What is said of each round behind the name of its test. */
const ROUNDS = Array.from({ length: extent(1, 20) }, (_, round) => (round === 0 ? '' : `, again (${round})`));
/** A call costs exactly what it holds, so that the hundredth takes the last cent. */
const BY_THE_CALL = { input_usd_per_mtok: '0', output_usd_per_mtok: '0', per_request_usd: '0.001' };
const BY_THE_CALL_PRICE: KnownPrice = { input: 0n, output: 0n, perRequest: 1_000_000n };

describe('a thousand calls at once against two gateways', () => {
  let stage: MoneyStage;
  let gateways: readonly [TestGateway, TestGateway];

  beforeAll(async () => {
    stage = await MoneyStage.open();
    gateways = [await stage.startGateway(), await stage.startGateway()];
  }, 90_000);

  afterAll(() => stage.close(), 30_000);

  /** Every other call goes to the other gateway; all are on their way before the first is answered. */
  async function storm(paid: PaidModel, calls: number, fields: object = {}): Promise<ClientRecord[]> {
    const clients = new ClientLog();
    const records = await Promise.all(
      Array.from({ length: calls }, (_, index) => {
        const url = gateways[index % 2]?.url ?? '';
        return clients.call(url, {
          key: paid.key,
          model: paid.model,
          isStream: index % 4 === 3,
          fields: { ...fields },
        });
      }),
    );
    clients.close();
    await stage.quiet([paid.tenantId]);
    return records;
  }

  /** Sixty clients that call one after the other. */
  async function crowd(paid: PaidModel, calls: number, fields: object): Promise<ClientRecord[]> {
    const clients = new ClientLog();
    let left = calls;
    const client = async (_: unknown, index: number): Promise<void> => {
      while (left > 0) {
        left -= 1;
        const url = gateways[index % 2]?.url ?? '';
        await clients.call(url, { key: paid.key, model: paid.model, isStream: index % 4 === 3, fields: { ...fields } });
      }
    };
    await Promise.all(Array.from({ length: 60 }, client));
    clients.close();
    return clients.records;
  }

  async function expectLogsAgree(paid: PaidModel, clients: readonly ClientRecord[], price: KnownPrice): Promise<void> {
    const rows = await readLedger(stage.pool, [paid.tenantId]);
    const verdict = compareLogs({ clients, served: stage.simulator.served(), rows, price });
    expect(verdict.violations).toEqual([]);
    for (const gateway of gateways) expect(await invariantsOf(gateway)).toEqual(ALL_HOLD);
  }

  it.each(ROUNDS)(
    'lets exactly 100 pass where the money is for 100, and takes the last nano-dollar%s',
    async () => {
      const [first] = gateways;
      const paid = await stage.paidModel(first, {
        model: 'by-the-call',
        price: BY_THE_CALL,
        tenant: { initial_balance_usd: '0.1', daily_quota: null, monthly_quota: null },
      });
      const records = await storm(paid, CALLS);
      expect(countBy(records, ({ status }) => status)).toEqual({ 200: AFFORDABLE, 402: CALLS - AFFORDABLE });
      expect(records.filter(({ outcome }) => outcome === 'answered')).toHaveLength(AFFORDABLE);
      expect(await stage.posted(paid.tenantId)).toEqual({ wallet: 0n, overrun: 0n });
      expect(await stage.projected(paid.tenantId)).toBe(0n);
      const refused = records.find(({ status }) => status === 402);
      expect(refused && errorOf(refused)).toMatchObject({ code: 'QUOTA_BALANCE_EXCEEDED', type: 'insufficient_quota' });
      expect(refused?.headers['x-should-retry']).toBe('false');
      await expectLogsAgree(paid, records, BY_THE_CALL_PRICE);
    },
    90_000,
  );

  it.each<[string, (stage: MoneyStage) => Promise<unknown>]>([
    ['emptied', (on) => on.withRedis((redis) => redis.flushall())],
    ['emptied once more', (on) => on.withRedis((redis) => redis.flushall())],
    ['emptied a third time', (on) => on.withRedis((redis) => redis.flushall())],
    ['killed and started again', (on) => on.redis.kill9().then(() => on.redis.restart())],
  ])(
    'never lets more pass than the money is for while Redis is %s',
    async (_, fault) => {
      const [first] = gateways;
      const paid = await stage.paidModel(first, {
        model: 'by-the-call',
        price: BY_THE_CALL,
        tenant: { initial_balance_usd: '0.1', daily_quota: null, monthly_quota: null },
      });
      const state = { isOver: false };
      const faults = (async () => {
        while (!state.isOver) {
          await fault(stage);
          await delay(10);
        }
      })();
      const records: ClientRecord[] = [];
      try {
        // Slow answers, and always somebody who asks: at every fault holds are open, some of them without a row yet.
        records.push(...(await crowd(paid, CALLS, { x_simulate: { headersDelayMs: 100 } })));
      } finally {
        state.isOver = true;
        await faults;
      }
      // Whoever was turned away during the fault comes again.
      records.push(...(await storm(paid, CALLS / 4)));
      await until(
        async () => {
          records.push(...(await storm(paid, 10)));
          return (await stage.posted(paid.tenantId)).wallet === 0n;
        },
        20_000,
        () => 'the money was not used up',
      );
      expect(records.filter(({ outcome }) => outcome === 'answered')).toHaveLength(AFFORDABLE);
      expect(records.filter(({ status }) => status !== 200 && status !== 402 && status !== 503)).toEqual([]);
      expect(await stage.posted(paid.tenantId)).toEqual({ wallet: 0n, overrun: 0n });
      await expectLogsAgree(paid, records, BY_THE_CALL_PRICE);
    },
    90_000,
  );

  it.each(ROUNDS)(
    'lets exactly 100 pass where the daily quota is 100, and says when the next may%s',
    async () => {
      const [first] = gateways;
      const paid = await stage.paidModel(first, {
        model: 'counted',
        price: BY_THE_CALL,
        tenant: { initial_balance_usd: '10', daily_quota: AFFORDABLE, monthly_quota: null },
      });
      const startedAt = new Date();
      const records = await storm(paid, CALLS);
      expect(countBy(records, ({ status }) => status)).toEqual({ 200: AFFORDABLE, 429: CALLS - AFFORDABLE });
      expect((await stage.posted(paid.tenantId)).wallet).toBe(10_000_000_000n - BigInt(AFFORDABLE) * 1_000_000n);
      const midnight = Date.UTC(startedAt.getUTCFullYear(), startedAt.getUTCMonth(), startedAt.getUTCDate() + 1);
      for (const refused of records.filter(({ status }) => status === 429)) {
        const error = errorOf(refused);
        expect(error).toMatchObject({
          code: 'QUOTA_DAILY_EXCEEDED',
          type: 'rate_limit_exceeded',
          window_resets_at: new Date(midnight).toISOString(),
        });
        const waitSeconds = Number(refused.headers['retry-after']);
        expect(waitSeconds).toBeGreaterThan(0);
        expect(waitSeconds).toBeLessThanOrEqual(Math.ceil((midnight - startedAt.getTime()) / 1000));
        // A wait of a minute at most is worth one.
        expect(refused.headers['x-should-retry']).toBe(String(waitSeconds <= 60));
      }
      await expectLogsAgree(paid, records, BY_THE_CALL_PRICE);
    },
    90_000,
  );

  it('books what answers cost beyond their holds as overrun, to the nano-dollar, and the next credit pays it first', async () => {
    const [first] = gateways;
    const paid = await stage.paidModel(first, {
      model: 'overrunning',
      price: { input_usd_per_mtok: '0', output_usd_per_mtok: '3' },
      tenant: { initial_balance_usd: '0.0003', daily_quota: null, monthly_quota: null },
    });
    // A hold is 10 tokens × 3,000 nano-USD; the answer takes no notice of the limit and reports 777 tokens.
    const records = await storm(paid, 200, { max_tokens: 10, x_simulate: { completionTokens: 777, tokens: 3 } });
    const passed = BigInt(records.filter(({ outcome }) => outcome === 'answered').length);
    const cost = 777n * 3_000n;
    expect(passed).toBeGreaterThanOrEqual(1n);
    expect(passed).toBeLessThanOrEqual(10n);
    expect(countBy(records, ({ status }) => status)).toEqual({ 200: Number(passed), 402: 200 - Number(passed) });
    const overrun = passed * cost - 300_000n;
    expect(await stage.posted(paid.tenantId)).toEqual({ wallet: 0n, overrun: -overrun });
    await expectLogsAgree(paid, records, { input: 0n, output: 3_000_000_000n, perRequest: 0n });

    await credit(first, paid.tenantId, '1');
    expect(await stage.posted(paid.tenantId)).toEqual({ wallet: 1_000_000_000n - overrun, overrun: 0n });
    expect(await invariantsOf(first)).toEqual(ALL_HOLD);
  }, 90_000);
});

function countBy<T>(items: readonly T[], keyOf: (item: T) => string | number | undefined): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) {
    const key = String(keyOf(item));
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

async function credit(access: AdminAccess, tenantId: string, amountUsd: string): Promise<void> {
  const response = await fetch(`${access.url}/admin/v1/tenants/${tenantId}/adjustments`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${access.adminToken}`,
      'content-type': 'application/json',
      'idempotency-key': `credit-${tenantId}`,
    },
    body: JSON.stringify({ amount_usd: amountUsd, reason_code: 'GOODWILL', description: 'covers the overrun' }),
  });
  if (!response.ok) throw new Error(`no credit: ${response.status} ${await response.text()}`);
}
