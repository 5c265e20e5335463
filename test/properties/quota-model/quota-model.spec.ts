import fc from 'fast-check';
import { extent } from '../../support/extent';
import { play, ROUND_KINDS, rounds } from './at-once';
import { commands, stepNames } from './commands';
import type { StoreKind } from './model';
import { type Scenario, scenario } from './scenario';
import { QuotaSystem, StalledError } from './system';
import { codesOf, Tally } from './tally';
import { TenantRun } from './tenant-run';

const RUNS = extent(500, 10_000);
const RUNS_AT_ONCE = extent(100, 2_000);
const MOST_COMMANDS = 40;
const PROVE_EVERY = 100;
/** How long a counterexample is made smaller. */
const SHRINK_MS = 20_000;
const SEED = Number(process.env.TEST_SEED ?? Date.now() % 1_000_000_000);
/** As fast-check prints them with a failure. */
const { TEST_PATH, TEST_REPLAY_PATH } = process.env;

const RUN = 'runs';
const STALLED = 'stalled runs';
const FUNDINGS = ['paid by wallet', 'paid by allowance', 'paid by subscription'];
const EXTENSIONS = ['extended', 'extension refused'];

describe.each<StoreKind>(['redis', 'postgres'])(
  `what %s decides and what its model says (TEST_SEED=${SEED})`,
  (kind) => {
    let system: QuotaSystem;

    beforeAll(async () => {
      system = await QuotaSystem.open(kind);
    }, 60_000);

    afterAll(() => system.close(), 30_000);

    const playing = async (scene: Scenario, tally: Tally, play: (run: TenantRun) => Promise<void>) => {
      const run = await TenantRun.begin(system, scene, tally);
      try {
        await play(run);
        await run.end();
      } catch (error) {
        // What comes after must not fail for what this one has left.
        await run.giveUp();
        if (!(error instanceof StalledError)) throw error;
        tally.count(STALLED);
      }
      tally.count(RUN);
      if (tally.of(RUN) % PROVE_EVERY === 0) await system.prove();
    };

    const conclude = async (tally: Tally) => {
      await system.prove();
      process.stdout.write(`${kind}: ${tally.toString()}\n`);
      if (TEST_PATH === undefined) expect(tally.missing).toEqual([]);
      expect(tally.of(STALLED)).toBeLessThan(Math.max(2, tally.of(RUN) / 20));
    };

    it(
      `agree after every command, ${RUNS} runs`,
      async () => {
        const tally = new Tally([...stepNames(kind), ...codesOf(kind), ...FUNDINGS, ...EXTENSIONS]);
        const steps = commands(kind, MOST_COMMANDS, TEST_REPLAY_PATH);
        const property = fc.asyncProperty(scenario, steps, (scene, then) =>
          playing(scene, tally, (run) => fc.asyncModelRun(() => ({ model: run, real: run }), then)),
        );
        await assertProperty(property, RUNS);
        await conclude(tally);
      },
      extent(600_000, 3_600_000),
    );

    it(
      `agree where several things happen at once, ${RUNS_AT_ONCE} runs`,
      async () => {
        const tally = new Tally(ROUND_KINDS.filter((what) => kind === 'redis' || what !== 'flush'));
        const property = fc.asyncProperty(scenario, rounds(kind), (scene, then) =>
          playing(scene, tally, async (run) => {
            for (const round of then) await play(run, round);
          }),
        );
        await assertProperty(property, RUNS_AT_ONCE);
        await conclude(tally);
      },
      extent(600_000, 3_600_000),
    );
  },
);

/** Throws what fast-check says of a failure: seed, path and commands, after it had some time to make them fewer. */
async function assertProperty<T>(property: fc.IAsyncProperty<T>, numRuns: number): Promise<void> {
  const path = TEST_PATH === undefined ? {} : { path: TEST_PATH };
  const found = await fc.check(property, { seed: SEED, numRuns, endOnFailure: true, ...path });
  if (!found.failed) return;
  const smaller = await fc.check(property, {
    seed: SEED,
    path: found.counterexamplePath ?? '',
    interruptAfterTimeLimit: SHRINK_MS,
  });
  const failure = smaller.counterexample === null ? found : smaller;
  throw new Error((await fc.asyncDefaultReportMessage(failure)) ?? 'failed', { cause: failure.errorInstance });
}
