import fc from 'fast-check';
import { extent } from '../../support/extent';
import { commands, stepNames } from './commands';
import type { StoreKind } from './model';
import { scenario } from './scenario';
import { QuotaSystem, StalledError } from './system';
import { codesOf, Tally } from './tally';
import { TenantRun } from './tenant-run';

const RUNS = extent(500, 10_000);
const MOST_COMMANDS = 40;
const PROVE_EVERY = 100;
/** How long a counterexample is made smaller. */
const SHRINK_MS = 20_000;
const SEED = Number(process.env.TEST_SEED ?? Date.now() % 1_000_000_000);
/** As fast-check prints them with a failure. */
const { TEST_PATH, TEST_REPLAY_PATH } = process.env;

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

    it(
      `agree after every command, ${RUNS} runs`,
      async () => {
        const tally = new Tally([...stepNames(kind), ...codesOf(kind), ...FUNDINGS, ...EXTENSIONS]);
        let [runs, stalled] = [0, 0];
        const property = fc.asyncProperty(
          scenario,
          commands(kind, MOST_COMMANDS, TEST_REPLAY_PATH),
          async (scene, steps) => {
            runs += 1;
            const run = await TenantRun.begin(system, scene, tally);
            try {
              await fc.asyncModelRun(() => ({ model: run, real: run }), steps);
              await run.end();
            } catch (error) {
              if (!(error instanceof StalledError)) throw error;
              stalled += 1;
              await run.giveUp();
            }
            if (runs % PROVE_EVERY === 0) await system.prove();
          },
        );
        await assertProperty(property);
        await system.prove();
        process.stdout.write(`${kind}: ${runs} runs, ${stalled} stalled; ${tally.toString()}\n`);
        if (TEST_PATH === undefined) expect(tally.missing).toEqual([]);
        expect(stalled).toBeLessThan(Math.max(2, runs / 20));
      },
      extent(600_000, 3_600_000),
    );
  },
);

/** Throws what fast-check says of a failure: seed, path and commands, after it had some time to make them fewer. */
async function assertProperty<T>(property: fc.IAsyncProperty<T>): Promise<void> {
  const path = TEST_PATH === undefined ? {} : { path: TEST_PATH };
  const found = await fc.check(property, { seed: SEED, numRuns: RUNS, endOnFailure: true, ...path });
  if (!found.failed) return;
  const smaller = await fc.check(property, {
    seed: SEED,
    path: found.counterexamplePath ?? '',
    interruptAfterTimeLimit: SHRINK_MS,
  });
  throw new Error((await fc.asyncDefaultReportMessage(smaller.failed ? smaller : found)) ?? 'failed', {
    cause: (smaller.failed ? smaller : found).errorInstance,
  });
}
