import { Turns } from '../../src/billing/writer/turns';
import { type PlantedBug, plantedBugs } from '../planted-bugs/planted-bugs';
import { ProjectCopy } from '../planted-bugs/project-copy';
import { runSpecs, type SpecRun } from '../planted-bugs/spec-run';

const BUGS = plantedBugs();
/** Copies of the project, and so runs at once. */
const AT_ONCE = 2;
const RUN_WITHIN_MS = 120_000;
const ALL_WITHIN_MS = 600_000;
/** A test here waits for its run, which waits for its turn. */
const WAITS_MS = ALL_WITHIN_MS + BUGS.length * RUN_WITHIN_MS;

describe('the suite', () => {
  let copies: ProjectCopy[];
  const runs = new Map<string, Promise<SpecRun>>();
  let ofNoBug: Promise<SpecRun>;

  beforeAll(() => {
    copies = Array.from({ length: AT_ONCE }, () => new ProjectCopy());
    ofNoBug = soundRun(copies[0]);
    const turns = new Turns(AT_ONCE);
    for (const bug of BUGS) {
      const run = ofNoBug.then(() => turns.run(() => runWith(bug)));
      // It is awaited by its test, which may come to it later.
      run.catch(() => undefined);
      runs.set(bug.name, run);
    }
  }, 60_000);

  afterAll(async () => {
    const lines = await Promise.all(BUGS.map(async (bug) => lineOf(bug, await runs.get(bug.name))));
    process.stdout.write(`${lines.join('\n')}\n`);
  }, WAITS_MS);

  async function runWith(bug: PlantedBug): Promise<SpecRun> {
    const copy = copies.pop();
    if (!copy) throw new Error('more runs at once than copies');
    try {
      return await copy.with(bug, () => runSpecs(copy.folder, [bug.caughtBy], RUN_WITHIN_MS));
    } finally {
      copies.push(copy);
    }
  }

  it(
    'passes as it is, so that what fails below is caught',
    async () => {
      const { passed, failed, trouble } = await ofNoBug;
      expect({ trouble, failed }).toEqual({ trouble: undefined, failed: [] });
      expect(passed).toBeGreaterThan(BUGS.length);
    },
    WAITS_MS,
  );

  it.each(BUGS)(
    'catches $name',
    async ({ name }) => {
      const run = await runs.get(name);
      expect(run?.trouble).toBeUndefined();
      expect(run?.failed.filter(({ isExpectation }) => isExpectation)).not.toEqual([]);
    },
    WAITS_MS,
  );
});

/** The test files that catch them, whole. */
function soundRun(copy: ProjectCopy | undefined): Promise<SpecRun> {
  if (!copy) throw new Error('no copy');
  const paths = [...new Set(BUGS.map(({ caughtBy }) => caughtBy.path))];
  const specs = paths.map((path) => ({ path, pattern: undefined }));
  return runSpecs(copy.folder, specs, ALL_WITHIN_MS);
}

function lineOf({ name, caughtBy }: PlantedBug, run: SpecRun | undefined): string {
  const { failed = [], passed = 0, durationMs = 0 } = run ?? {};
  const [first] = failed;
  const verdict = `${failed.length} of ${failed.length + passed} failed, ${(durationMs / 1_000).toFixed(0)} s`;
  return [name, caughtBy.path, verdict, first?.title ?? run?.trouble ?? 'NOT CAUGHT'].join(' | ');
}
