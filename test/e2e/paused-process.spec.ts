import type { PaidModel } from '../factories/paid-model';
import type { RunningCall } from '../support/client-log';
import { ALL_HOLD, firstSeed, invariantsOf, MoneyStage, Seeded, until } from '../support/money-stage';
import type { TestGateway } from '../support/test-gateway';
import { readLedger } from '../support/three-logs';

const CALLS = 24;
/** Of them those that are no streams. */
const BODIES = 4;
/** Long enough that a living process on a busy machine is not taken for dead, and that its looks are one watch. */
const SHORT_BEATS = { PROCESS_BEAT_MS: '500', PROCESS_DEAD_MS: '4000' };
const WITHIN_MS = 60_000;
const FIRST_SEED = firstSeed();
const INITIAL_USD = '1000';

describe('a gateway that stands still for longer than it takes to be declared dead, beside one that lives', () => {
  let stage: MoneyStage;
  let living: TestGateway;
  let paid: PaidModel;

  beforeAll(async () => {
    stage = await MoneyStage.open();
    living = await stage.startGateway(SHORT_BEATS);
    paid = await stage.paidModel(living, {
      tenant: { initial_balance_usd: INITIAL_USD, daily_quota: null, monthly_quota: null },
    });
  }, 60_000);

  afterAll(() => stage.close(), 30_000);

  /** Streams of every kind: some end while the gateway stands still, some never, some just then. */
  function scriptOf(random: Seeded, isStream: boolean): object {
    if (!isStream) return { tokens: 9, headersDelayMs: random.integer(500, 8_000) };
    const kind = random.integer(1, 4);
    if (kind === 1) return { tokens: 9, hangAt: random.integer(1, 8) };
    if (kind === 2) return { tokens: random.integer(50, 200), paceMs: random.integer(5, 20) };
    return { tokens: random.integer(20, 80), paceMs: random.integer(100, 400) };
  }

  async function startCalls(
    gateway: TestGateway,
    random: Seeded,
    script: (isStream: boolean) => object = (isStream) => scriptOf(random, isStream),
  ): Promise<readonly RunningCall[]> {
    const isStream = (at: number): boolean => at >= BODIES;
    const calls = Array.from({ length: CALLS }, (_, at) =>
      stage.clients.start(gateway.url, {
        key: paid.key,
        model: paid.model,
        isStream: isStream(at),
        fields: { x_simulate: script(isStream(at)) },
      }),
    );
    await until(
      () => calls.every((call, at) => !isStream(at) || call.bytesSoFar() > 0),
      WITHIN_MS,
      () => 'not every stream runs',
    );
    return calls;
  }

  async function openRows(gateway: TestGateway): Promise<{ open: number; checkpointed: number }> {
    const { rows } = await stage.pool.query<{ open: number; checkpointed: number }>(
      `select count(*)::int as open, count(checkpoint)::int as checkpointed from billing_transaction
        where status = 'PENDING'
          and process_id = (select id from gateway_process where pid = $1 order by id desc limit 1)`,
      [gateway.pid],
    );
    return rows[0] ?? { open: NaN, checkpointed: NaN };
  }

  /** Stands still until nothing of it is open, is woken up, and leaves by itself. */
  async function pauseUntilSwept(gateway: TestGateway, random: Seeded): Promise<void> {
    process.kill(gateway.pid, 'SIGSTOP');
    await until(
      async () => (await openRows(gateway)).open === 0,
      WITHIN_MS,
      () => 'the paused process was not swept',
    );
    const late = stage.clients.start(gateway.url, { key: paid.key, model: paid.model });
    // In some runs it finds itself swept for good, in some only dead.
    if (random.integer(0, 1) === 1) {
      await until(
        async () => (await statusOf(gateway)) === 'swept',
        WITHIN_MS,
        () => 'the paused process was not swept for good',
      );
    }
    process.kill(gateway.pid, 'SIGCONT');
    expect(await gateway.ended).toBe(0);
    await late.done;
  }

  async function statusOf(gateway: TestGateway): Promise<string | undefined> {
    const { rows } = await stage.pool.query<{ status: string }>(
      `select status from gateway_process where pid = $1 order by id desc limit 1`,
      [gateway.pid],
    );
    return rows[0]?.status;
  }

  async function expectExact(): Promise<void> {
    await stage.quiet([paid.tenantId]);
    const verdict = await stage.threeLogs([paid.tenantId]);
    expect(verdict.violations).toEqual([]);
    const { wallet } = await stage.posted(paid.tenantId);
    expect(wallet).toBe(BigInt(INITIAL_USD) * 1_000_000_000n - verdict.chargedNanoUsd);
    expect(await stage.projected(paid.tenantId)).toBe(wallet);
    expect(await invariantsOf(living)).toEqual(ALL_HOLD);
  }

  it.each([FIRST_SEED, FIRST_SEED + 1])(
    'charges by corrections what it delivered before and after, ends its streams with an error and leaves (seed %i)',
    async (seed) => {
      const random = new Seeded(seed);
      const paused = await stage.startGateway(SHORT_BEATS);
      const calls = await startCalls(paused, random);
      await pauseUntilSwept(paused, random);
      const records = await Promise.all(calls.map((call) => call.done));
      await expectExact();

      const rows = await readLedger(stage.pool, [paid.tenantId]);
      const correctionOf = new Map(rows.map((row) => [row.corrects, row]));
      const cut = records.filter(({ outcome, bytes }) => outcome === 'unknown' && bytes > 0);
      for (const { body, traceId } of cut) {
        expect(body).toContain('"code":"SHUTTING_DOWN"');
        expect(body).not.toContain('[DONE]');
        const charge = rows.find((row) => row.traceId === traceId);
        const booked = correctionOf.get(charge?.id ?? '') ?? charge;
        expect(booked).toMatchObject({ status: 'COMMITTED', endReason: 'cut_by_shutdown' });
      }
      // The pause met what it was meant to meet.
      expect(cut.length).toBeGreaterThan(0);
      expect(correctionOf.size).toBeGreaterThan(1);
    },
    240_000,
  );

  it('makes what the sweeper charged by checkpoints the whole cost of each stream, once', async () => {
    const random = new Seeded(FIRST_SEED + 2);
    const paused = await stage.startGateway(SHORT_BEATS);
    const calls = await startCalls(paused, random, (isStream) =>
      isStream ? { tokens: 60, paceMs: random.integer(600, 900) } : { tokens: 9, headersDelayMs: 60_000 },
    );
    await until(
      async () => (await openRows(paused)).checkpointed === CALLS - BODIES,
      WITHIN_MS,
      () => 'not every stream was checkpointed',
    );
    await pauseUntilSwept(paused, random);
    await Promise.all(calls.map((call) => call.done));
    await expectExact();
    const rows = await readLedger(stage.pool, [paid.tenantId]);
    const swept = rows.filter(({ status, endReason }) => status === 'COMMITTED' && endReason === 'process_dead');
    expect(swept).toHaveLength(CALLS - BODIES);
    const corrected = new Set(rows.map(({ corrects }) => corrects));
    for (const { id, amount, refunded } of swept) expect(refunded).toBe(corrected.has(id) ? amount : 0n);
    expect(swept.filter(({ id }) => corrected.has(id)).length).toBeGreaterThan(0);
  }, 240_000);
});
