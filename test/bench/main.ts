import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { findProjectRoot } from '../../src/platform/config/project-root';
import { findDebianTools } from './debian-tools';
import { measureHalfLoad } from './half-load';
import { type Bench, checkAnswer, measure } from './measure';
import { type MockUpstream, startMockUpstream } from './mock-upstream';
import { type BenchOptions, parseOptions, type SubjectName, USAGE } from './options';
import { monotonicMicros, summariseProfile } from './profile';
import { measureQuotaCost } from './quota-cost/quota-cost';
import { renderTable, type Sample, writeResults } from './report';
import { SCENARIOS } from './scenarios';
import { claimTheMachine } from './single-run';
import { startPassThrough } from './subjects/pass-through';
import { type Subject } from './subjects/subject';
import { startTollgate } from './subjects/tollgate';

const GATEWAY_CORE = 0;
const LOAD_CORE = 1;
/** V8 still compiles the long path of a paid request after 10,000 of them. */
const WARM_UP_SECONDS = 8;

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

async function main(): Promise<void> {
  let options: BenchOptions;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    say(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    process.exitCode = 2;
    return;
  }
  const projectFolder = findProjectRoot();
  mkdirSync(join(projectFolder, '.data'), { recursive: true });
  const release = claimTheMachine(join(projectFolder, '.data', 'bench.pid'));
  // Embedded servers do not keep their parent alive: without this it would be gone while it waits for their end.
  const alive = setInterval(() => undefined, 60_000);
  try {
    await run(options, projectFolder);
  } finally {
    clearInterval(alive);
    release();
  }
}

async function run(options: BenchOptions, projectFolder: string): Promise<void> {
  const folder = join(projectFolder, '.data', 'bench');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  // Everything started from here stays off the gateways' core, the stores included.
  execFileSync('taskset', ['-a', '-c', '-p', String(LOAD_CORE), String(process.pid)], { stdio: 'ignore' });

  if (options.mode === 'quota') {
    const samples = await measureQuotaCost({ options, projectFolder, folder, driverCore: GATEWAY_CORE, say });
    say(`written: ${writeResults(projectFolder, options, 'no load generator', samples)}`);
    return;
  }
  const found = await findDebianTools(join(projectFolder, '.data', 'tools', 'bench'));
  const tools = 'missing' in found ? undefined : found;
  const toolsLine =
    'missing' in found
      ? `mock upstream and load: Node (nginx and wrk cannot be had: ${found.missing}); they slow the load, not the figures`
      : 'mock upstream: nginx, load: wrk';
  say(toolsLine);
  const bench = { tools, folder, loadCore: LOAD_CORE };
  const mock = await startMockUpstream(tools, folder, LOAD_CORE);
  const start = (name: SubjectName): Promise<Subject> =>
    startSubject(name, bench, mock, projectFolder, options.nodeArguments);
  try {
    if (options.mode === 'profile') await profile(bench, mock, options, projectFolder);
    else if (options.mode === 'half-load') {
      const samples = await measureHalfLoad({ bench, mock, options, gatewayCore: GATEWAY_CORE, start, say });
      say(`written: ${writeResults(projectFolder, options, toolsLine, samples)}`);
    } else await compare(bench, options, { start, projectFolder, toolsLine });
  } finally {
    await mock.stop();
  }
}

function startSubject(
  name: SubjectName,
  bench: Bench,
  mock: MockUpstream,
  projectFolder: string,
  nodeArguments: readonly string[],
): Promise<Subject> {
  const more = { folder: bench.folder, mock, core: GATEWAY_CORE, nodeArguments };
  return name === 'floor' || name === 'fastify'
    ? startPassThrough(name, more)
    : startTollgate(name, { projectFolder, ...more });
}

/** All subjects stay up and take turns, so that the noise of the machine meets each of them alike. */
async function compare(
  bench: Bench,
  options: BenchOptions,
  {
    start,
    projectFolder,
    toolsLine,
  }: { start: (name: SubjectName) => Promise<Subject>; projectFolder: string; toolsLine: string },
): Promise<void> {
  const subjects: Subject[] = [];
  const samples: Sample[] = [];
  try {
    for (const name of options.subjects) {
      subjects.push(await start(name));
    }
    for (let round = 0; round <= options.rounds; round += 1) {
      for (const scenario of options.scenarios.map((name) => SCENARIOS[name])) {
        for (const subject of subjects) {
          if (round === 0) await checkAnswer(subject, scenario);
          const concurrency = options.concurrency ?? scenario.concurrency;
          const seconds = round === 0 ? WARM_UP_SECONDS : options.seconds;
          const sample = await measure(bench, subject, scenario, { round, seconds, concurrency });
          // Round 0 warms up: its figures are thrown away, its charges are proved all the same.
          if (round > 0) samples.push(sample);
          say(progressLine(sample));
        }
      }
    }
  } finally {
    for (const subject of subjects.reverse()) await subject.stop();
  }
  say(renderTable(samples, options));
  say(`\n${proofLines(samples).join('\n')}`);
  say(`written: ${writeResults(projectFolder, options, toolsLine, samples)}`);
}

/** The last proof of each subject and tenant: it speaks of everything before it. */
function proofLines(samples: readonly Sample[]): string[] {
  const last = new Map(
    samples.map(({ subject, scenario, proof }) => [`${subject}, ${SCENARIOS[scenario].caller}`, proof]),
  );
  return [...last].flatMap(([name, proof]) =>
    proof === undefined ? [] : [`proved after each run of ${name}: ${proof.says}`, `  invariants: ${proof.invariants}`],
  );
}

function progressLine(sample: Sample): string {
  const helpers = Object.entries(sample.helpersCpuMicrosPerRequest).map(
    ([name, micros]) => `${name} ${micros.toFixed(1)}`,
  );
  const round = sample.round === 0 ? 'warm-up' : `round ${sample.round}`;
  return (
    `${round.padEnd(8)} ${sample.scenario.padEnd(9)} ${sample.subject.padEnd(17)} ` +
    `${sample.cpuMicrosPerRequest.toFixed(1).padStart(8)} µs/req  ${sample.answersPerSecond.toFixed(0).padStart(6)} req/s  ` +
    [...helpers, sample.proof === undefined ? '' : `proved ${sample.proof.answers} answers`].join('  ')
  );
}

/** Tollgate alone under V8's sampler: where the CPU of a request goes. */
async function profile(bench: Bench, mock: MockUpstream, options: BenchOptions, projectFolder: string): Promise<void> {
  for (const scenario of options.scenarios.map((name) => SCENARIOS[name])) {
    const profileFolder = join(bench.folder, `profile-${scenario.name}`);
    const sampler = ['--cpu-prof', '--cpu-prof-interval', '250', '--cpu-prof-dir', profileFolder];
    const nodeArguments = [...options.nodeArguments, ...sampler];
    const subject = await startSubject('tollgate', bench, mock, projectFolder, nodeArguments);
    const concurrency = options.concurrency ?? scenario.concurrency;
    let sample: Sample;
    let fromMicros: number;
    try {
      await checkAnswer(subject, scenario);
      await measure(bench, subject, scenario, { round: 0, seconds: WARM_UP_SECONDS, concurrency });
      fromMicros = monotonicMicros();
      sample = await measure(bench, subject, scenario, { round: 1, seconds: options.seconds, concurrency });
    } finally {
      await subject.stop();
    }
    const window = { fromMicros, toMicros: fromMicros + options.seconds * 1_000_000 };
    say(`\n${scenario.name} under the sampler (which costs CPU itself): ${progressLine(sample)}`);
    say(summariseProfile(profileFolder, window, sample.cpuMicrosPerRequest));
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`bench: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
});
