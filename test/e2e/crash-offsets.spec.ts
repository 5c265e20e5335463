import type { PaidModel } from '../factories/paid-model';
import { extent } from '../support/extent';
import { ALL_HOLD, firstSeed, invariantsOf, MoneyStage, Seeded, STAGE_PRICE, until } from '../support/money-stage';
import type { TestGateway } from '../support/test-gateway';
import { compareLogs, readLedger } from '../support/three-logs';

const KILLS = extent(4, 100);
/** A kill ends them all in the middle, each somewhere else. */
const STREAMS = 8;
const SHORT_BEATS = { PROCESS_BEAT_MS: '250', PROCESS_DEAD_MS: '3000', DISCONNECT_POLICY: 'cut' };
/** A frame of the simulator is about 200 bytes: a stream of 40 words has about this many. */
const STREAM_BYTES = 8_000;
const SEED = firstSeed();
const INITIAL_USD = '1000';

describe(`a gateway that is killed at byte offsets of a stream (${KILLS} of them, seed ${SEED})`, () => {
  let stage: MoneyStage;
  let living: TestGateway;
  let paid: PaidModel;
  const random = new Seeded(SEED);

  beforeAll(async () => {
    stage = await MoneyStage.open();
    living = await stage.startGateway(SHORT_BEATS);
    paid = await stage.paidModel(living, {
      tenant: { initial_balance_usd: INITIAL_USD, daily_quota: null, monthly_quota: null },
    });
  }, 60_000);

  afterAll(() => stage.close(), 30_000);

  it(
    'leaves every answered call charged once, every other at most once, and nothing open',
    async () => {
      let doomed = await stage.startGateway(SHORT_BEATS);
      for (let kill = 0; kill < KILLS; kill += 1) {
        // The next one boots while this one streams.
        const next = stage.startGateway(SHORT_BEATS);
        await killAtOffset(doomed, kill);
        doomed = await next;
      }
      await doomed.stop();
      // Each kill met streams in their middle.
      expect(stage.clients.count('unknown')).toBeGreaterThanOrEqual(KILLS);

      await until(
        async () => (await unsweptProcesses()) === 0,
        60_000,
        () => 'not every dead process was swept',
      );
      await stage.quiet([paid.tenantId]);
      const rows = await readLedger(stage.pool, [paid.tenantId]);
      const verdict = compareLogs({
        clients: stage.clients.records,
        served: stage.simulator.served(),
        rows,
        price: STAGE_PRICE,
      });
      expect(verdict.violations).toEqual([]);
      expect(verdict.answered).toBeGreaterThanOrEqual(KILLS);
      expect(verdict.voided).toBeGreaterThan(0);
      const { wallet } = await stage.posted(paid.tenantId);
      expect(wallet).toBe(BigInt(INITIAL_USD) * 1_000_000_000n - verdict.chargedNanoUsd);
      expect(await stage.projected(paid.tenantId)).toBe(wallet);
      expect(await invariantsOf(living)).toEqual(ALL_HOLD);
    },
    60_000 + KILLS * 10_000,
  );

  /**
   * Answers a call, and kills in the very turn in which one seeded stream has brought its client a seeded number of bytes.
   * The offsets of all kills go through the whole of a stream.
   */
  async function killAtOffset(doomed: TestGateway, kill: number): Promise<void> {
    await stage.clients.call(doomed.url, { key: paid.key, model: paid.model, fields: { x_simulate: { tokens: 3 } } });
    const stretch = Math.floor(STREAM_BYTES / KILLS);
    const offset = kill * stretch + random.integer(1, stretch);
    const watched = random.integer(0, STREAMS - 1);
    const calls = Array.from({ length: STREAMS }, () =>
      stage.clients.start(doomed.url, {
        key: paid.key,
        model: paid.model,
        isStream: true,
        fields: { x_simulate: { tokens: 40, paceMs: random.integer(2, 12), promptTokens: random.integer(1, 9_999) } },
      }),
    );
    const call = calls[watched];
    if (!call) throw new Error('no such stream');
    let isOver = false;
    void call.done.then(() => {
      isOver = true;
    });
    await stage.clients.reached(() => isOver || call.bytesSoFar() >= offset);
    process.kill(doomed.pid, 'SIGKILL');
    await doomed.ended;
    await Promise.all(calls.map(({ done }) => done));
  }

  async function unsweptProcesses(): Promise<number> {
    const { rows } = await stage.pool.query<{ n: number }>(
      `select count(*)::integer as n from gateway_process where status in ('alive', 'dead') and pid <> $1`,
      [living.pid],
    );
    return rows[0]?.n ?? 0;
  }
});
