import type { PaidModel } from '../factories/paid-model';
import type { RunningCall } from '../support/client-log';
import { ALL_HOLD, firstSeed, invariantsOf, MoneyStage, Seeded, STAGE_PRICE, until } from '../support/money-stage';
import type { TestGateway } from '../support/test-gateway';
import { compareLogs, readLedger } from '../support/three-logs';

const STREAMS = 50;
const LIVING_STREAMS = 10;
/** Long enough that a living process on a busy machine is not taken for dead. */
const SHORT_BEATS = { PROCESS_BEAT_MS: '250', PROCESS_DEAD_MS: '3000', DISCONNECT_POLICY: 'cut' };
const FIRST_SEED = firstSeed();
const SEEDS = [FIRST_SEED, FIRST_SEED + 1, FIRST_SEED + 2];
const INITIAL_USD = '1000';
/** Every few seconds all open streams are checkpointed. */
const CHECKPOINTED_WITHIN_MS = 15_000;

describe('a gateway that is killed while it streams, beside one that lives', () => {
  let stage: MoneyStage;
  let living: TestGateway;
  let livingProcessId: string;
  let paid: PaidModel;
  let livingStreams: readonly RunningCall[];

  beforeAll(async () => {
    stage = await MoneyStage.open();
    living = await stage.startGateway({ ...SHORT_BEATS, UPSTREAM_IDLE_MS: '600000' });
    paid = await stage.paidModel(living, {
      tenant: { initial_balance_usd: INITIAL_USD, daily_quota: null, monthly_quota: null },
    });
    // These stay open over every crash: nobody but their own process may end them.
    livingStreams = Array.from({ length: LIVING_STREAMS }, () =>
      stage.clients.start(living.url, {
        key: paid.key,
        model: paid.model,
        isStream: true,
        fields: { x_simulate: { tokens: 9, hangAt: 5 } },
      }),
    );
    await until(
      () => livingStreams.every((call) => call.bytesSoFar() > 0),
      20_000,
      () => 'the living gateway does not stream',
    );
    livingProcessId = await processIdOf(stage, living.pid);
  }, 60_000);

  afterAll(() => stage.close(), 30_000);

  it.each(SEEDS)(
    'leaves what was answered charged once and nothing open (seed %i)',
    async (seed) => {
      const random = new Seeded(seed);
      const doomed = await stage.startGateway(SHORT_BEATS);
      const doomedProcessId = await processIdOf(stage, doomed.pid);
      const answered = await streamUntilKilled(doomed, random);
      const restarted = await stage.startGateway(SHORT_BEATS);
      await until(
        async () => (await statusOf(stage, doomedProcessId)) === 'swept',
        25_000,
        () => 'the dead process was not swept',
      );
      const open = { pending: LIVING_STREAMS, holds: LIVING_STREAMS };
      await until(
        async () => JSON.stringify(await stage.openOf([paid.tenantId])) === JSON.stringify(open),
        10_000,
        () => 'what is open is not what the living process holds',
      );

      const rows = await readLedger(stage.pool, [paid.tenantId]);
      const ofLiving = rows.filter(({ processId }) => processId === livingProcessId);
      expect(ofLiving.map(({ status }) => status)).toEqual(Array.from({ length: LIVING_STREAMS }, () => 'PENDING'));
      const verdict = compareLogs({
        clients: stage.clients.records,
        served: stage.simulator.served(),
        rows: rows.filter(({ processId }) => processId !== livingProcessId),
        price: STAGE_PRICE,
      });
      expect(verdict.violations).toEqual([]);
      // The crash met what it was meant to meet.
      expect(verdict.answered).toBeGreaterThanOrEqual(answered);
      expect(verdict.unknown).toBeGreaterThan(0);
      expect(verdict.voided).toBeGreaterThan(0);
      expect(await invariantsOf(restarted)).toEqual(ALL_HOLD);
      expect(await invariantsOf(living)).toEqual(ALL_HOLD);
      await restarted.stop();
    },
    60_000,
  );

  it('charges what streams had delivered at their last checkpoint, and no more', async () => {
    const doomed = await stage.startGateway(SHORT_BEATS);
    const doomedProcessId = await processIdOf(stage, doomed.pid);
    const calls = Array.from({ length: STREAMS }, () =>
      stage.clients.start(doomed.url, {
        key: paid.key,
        model: paid.model,
        isStream: true,
        fields: { x_simulate: { tokens: 9, hangAt: 5 } },
      }),
    );
    await until(
      async () => (await checkpointsOf(stage, doomedProcessId)) === STREAMS,
      CHECKPOINTED_WITHIN_MS,
      () => 'not every stream was checkpointed',
    );
    process.kill(doomed.pid, 'SIGKILL');
    await doomed.ended;
    const records = await Promise.all(calls.map((call) => call.done));
    await until(
      async () => (await statusOf(stage, doomedProcessId)) === 'swept',
      25_000,
      () => 'the dead process was not swept',
    );
    const rows = await readLedger(stage.pool, [paid.tenantId]);
    for (const { traceId, body } of records) {
      const row = rows.find((charge) => charge.traceId === traceId);
      expect(row).toMatchObject({ status: 'COMMITTED', endReason: 'process_dead', countingMethod: 'estimated' });
      const frames = body.split('data: ').length - 1;
      expect(row?.output).toBeGreaterThan(0n);
      expect(row?.output).toBeLessThanOrEqual(BigInt(frames));
      expect(row?.amount).toBe(
        ceilMillionth((row?.inputUncached ?? 0n) * STAGE_PRICE.input + (row?.output ?? 0n) * STAGE_PRICE.output),
      );
    }
    expect(await invariantsOf(living)).toEqual(ALL_HOLD);
  }, 60_000);

  it('lets the living process end its own streams afterwards, each charged for what was delivered', async () => {
    for (const call of livingStreams) call.abort();
    await Promise.all(livingStreams.map((call) => call.done));
    await stage.quiet([paid.tenantId]);
    const verdict = await stage.threeLogs([paid.tenantId]);
    expect(verdict.violations).toEqual([]);
    const rows = await readLedger(stage.pool, [paid.tenantId]);
    const ofLiving = rows.filter(({ processId }) => processId === livingProcessId);
    expect(ofLiving.map(({ status, endReason }) => `${status} ${endReason ?? ''}`)).toEqual(
      Array.from({ length: LIVING_STREAMS }, () => 'COMMITTED client_left'),
    );
    const { wallet } = await stage.posted(paid.tenantId);
    expect(wallet).toBe(BigInt(INITIAL_USD) * 1_000_000_000n - verdict.chargedNanoUsd);
    expect(await stage.projected(paid.tenantId)).toBe(wallet);
    expect(await invariantsOf(living)).toEqual(ALL_HOLD);
  }, 60_000);

  /**
   * Fifty clients call without a pause; the process is killed in the turn in which they have received a seeded number of
   * bytes, or of terminal frames: the last of those is younger than any later write. Resolves with the number of answers.
   */
  async function streamUntilKilled(doomed: TestGateway, random: Seeded): Promise<number> {
    const state = { isKilled: false, answered: 0 };
    const before = stage.clients.received;
    const killAfter = random.pick([
      { bytes: random.integer(1, 2_000), terminals: Infinity },
      { bytes: random.integer(2_000, 400_000), terminals: Infinity },
      { bytes: Infinity, terminals: random.integer(1, 150) },
    ]);
    const client = async (): Promise<void> => {
      while (!state.isKilled) {
        const record = await stage.clients.call(doomed.url, {
          key: paid.key,
          model: paid.model,
          isStream: random.integer(1, 5) > 1,
          fields: { x_simulate: scriptOf(random) },
        });
        if (record.outcome === 'answered') state.answered += 1;
      }
    };
    const clients = Array.from({ length: STREAMS }, client);
    await stage.clients.reached(
      (bytes, terminals) =>
        bytes - before.bytes >= killAfter.bytes || terminals - before.terminals >= killAfter.terminals,
    );
    state.isKilled = true;
    process.kill(doomed.pid, 'SIGKILL');
    await doomed.ended;
    await Promise.all(clients);
    return state.answered;
  }
});

function scriptOf(random: Seeded): object {
  return {
    tokens: random.integer(1, 60),
    paceMs: random.integer(0, 20),
    promptTokens: random.integer(1, 100_000),
    ...(random.integer(1, 4) === 1 ? { usage: 'on_finish' } : {}),
  };
}

async function processIdOf(stage: MoneyStage, pid: number): Promise<string> {
  const { rows } = await stage.pool.query<{ id: string }>(
    `select id from gateway_process where pid = $1 order by id desc limit 1`,
    [pid],
  );
  if (rows[0] === undefined) throw new Error(`no process row of pid ${pid}`);
  return rows[0].id;
}

async function checkpointsOf(stage: MoneyStage, processId: string): Promise<number> {
  const { rows } = await stage.pool.query<{ n: number }>(
    `select count(checkpoint)::int as n from billing_transaction where process_id = $1 and status = 'PENDING'`,
    [processId],
  );
  return rows[0]?.n ?? 0;
}

/** Of tokens × price, with the price of a request, by the formula's one rounding up. */
function ceilMillionth(weightedTokens: bigint): bigint {
  return (weightedTokens + STAGE_PRICE.perRequest * 1_000_000n + 999_999n) / 1_000_000n;
}

async function statusOf(stage: MoneyStage, processId: string): Promise<string | undefined> {
  const { rows } = await stage.pool.query<{ status: string }>(`select status from gateway_process where id = $1`, [
    processId,
  ]);
  return rows[0]?.status;
}
