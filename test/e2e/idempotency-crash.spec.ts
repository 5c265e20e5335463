import { setTimeout as pause } from 'node:timers/promises';
import type { PaidModel } from '../factories/paid-model';
import { createApiKey } from '../factories/tenants';
import type { ChatCall, ClientRecord, RunningCall } from '../support/client-log';
import { ALL_HOLD, firstSeed, invariantsOf, MoneyStage, Seeded, until } from '../support/money-stage';
import type { TestGateway } from '../support/test-gateway';

const CALLS = 16;
/** Long enough that a living process on a busy machine is not taken for dead. */
const SHORT_BEATS = { PROCESS_BEAT_MS: '250', PROCESS_DEAD_MS: '3000' };
const FIRST_SEED = firstSeed();

/** Where a process dies. The second and third are held open in Postgres, so that the death falls into them. */
const POINTS = [
  'while it answers',
  'between the stored answer and its settle',
  'between a settle and its answer',
] as const;
type Point = (typeof POINTS)[number];
const CASES = POINTS.flatMap((point, index) => [0, 1].map((nth) => ({ point, seed: FIRST_SEED + 10 * index + nth })));

interface Asked {
  readonly call: ChatCall;
  readonly first: RunningCall;
}

describe('a gateway that is killed with calls that have idempotency keys, which are sent again to another one', () => {
  let stage: MoneyStage;
  let living: TestGateway;
  let paid: PaidModel;

  beforeAll(async () => {
    stage = await MoneyStage.open();
    living = await stage.startGateway(SHORT_BEATS);
    paid = await stage.paidModel(living, {
      tenant: { initial_balance_usd: '1000', daily_quota: null, monthly_quota: null },
    });
    await stage.pool.query(`
      create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.4); return new; end $$`);
  }, 120_000);

  afterAll(() => stage.close(), 30_000);

  it.each(CASES)(
    'keeps exactly one charge for each key, and its answer, where it dies $point (seed $seed)',
    async ({ point, seed }) => {
      const random = new Seeded(seed);
      const doomed = await stage.startGateway(SHORT_BEATS);
      const asked = await ask(doomed, random);
      const endDawdling = await dawdle(point);
      await reached(point, random);
      process.kill(doomed.pid, 'SIGKILL');
      await doomed.ended;
      const firsts = await Promise.all(asked.map(({ first }) => first.done));
      await endDawdling();
      const retried = await Promise.all(asked.map(({ call }) => retry(call)));

      for (const [at, again] of retried.entries()) {
        const first = firsts[at];
        expect([seed, again.status, again.outcome]).toEqual([seed, 200, 'answered']);
        if (first?.outcome === 'answered') expect(again.body).toBe(first.body);
      }
      expect(firsts.some(({ outcome }) => outcome === 'unknown')).toBe(true);
      await stage.quiet([paid.tenantId]);
      expect(await keptOf(asked)).toEqual(asked.map(() => 1));
      const verdict = await stage.threeLogs([paid.tenantId]);
      expect(verdict.violations).toEqual([]);
      const { wallet } = await stage.posted(paid.tenantId);
      expect(wallet).toBe(1_000_000_000_000n - verdict.chargedNanoUsd);
      expect(await invariantsOf(living)).toEqual(ALL_HOLD);
    },
    90_000,
  );

  /** Each with an API key of its own, so that the ledger shows whose charges are whose. */
  async function ask(doomed: TestGateway, random: Seeded): Promise<readonly Asked[]> {
    const keys = await Promise.all(Array.from({ length: CALLS }, () => createApiKey(living, paid.tenantId)));
    return keys.map(({ id, key }) => {
      const call = {
        key,
        model: paid.model,
        tag: `keyed-${id}`,
        isStream: random.integer(1, 3) > 1,
        headers: { 'idempotency-key': `key of ${id}`.replaceAll(' ', '-') },
        fields: { x_simulate: { tokens: random.integer(5, 40), paceMs: random.integer(5, 40), promptTokens: 1_000 } },
      };
      return { call, first: stage.clients.start(doomed.url, call) };
    });
  }

  async function dawdle(point: Point): Promise<() => Promise<void>> {
    if (point === 'while it answers') return () => Promise.resolve();
    const [table, condition] =
      point === 'between a settle and its answer'
        ? ['idempotency_key', `new.state = 'answered'`]
        : ['billing_transaction', `new.status = 'COMMITTED'`];
    await stage.pool.query(
      `create trigger dawdles before update on ${table} for each row when (${condition}) execute function dawdle()`,
    );
    return async () => {
      await stage.pool.query(`drop trigger dawdles on ${table}`);
    };
  }

  async function reached(point: Point, random: Seeded): Promise<void> {
    if (point === 'while it answers') {
      const before = stage.clients.received.bytes;
      const atBytes = random.integer(500, 8_000);
      await stage.clients.reached((bytes) => bytes - before >= atBytes);
      return;
    }
    const atStored = random.integer(1, 3);
    await until(
      async () => {
        const { rows } = await stage.pool.query<{ n: number }>(
          `select count(*)::int as n from idempotency_key where state = 'stored'`,
        );
        return (rows[0]?.n ?? 0) >= atStored;
      },
      20_000,
      () => 'no answer is between its store and its end',
    );
    await pause(random.integer(0, 300));
  }

  /** As a client does that is told to wait. */
  async function retry(call: ChatCall): Promise<ClientRecord> {
    for (const deadline = performance.now() + 30_000; ;) {
      const record = await stage.clients.call(living.url, call);
      if (record.status !== 409 || performance.now() > deadline) return record;
      await pause(250);
    }
  }

  async function keptOf(asked: readonly Asked[]): Promise<readonly number[]> {
    const { rows } = await stage.pool.query<{ id: string; kept: number }>(
      `select api_key_id as id, count(*) filter (where status = 'COMMITTED' and refunded_nano_usd < amount_nano_usd)::int as kept
         from billing_transaction where tenant_id = $1 and type in ('charge', 'correction') group by 1`,
      [paid.tenantId],
    );
    return asked.map(({ call }) => rows.find(({ id }) => call.tag === `keyed-${id}`)?.kept ?? 0);
  }
});
