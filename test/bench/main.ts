import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { findProjectRoot } from '../../src/platform/config/project-root';
import { findDebianTools } from './debian-tools';
import { type Bench, checkAnswer, measure } from './measure';
import { type MockUpstream, startMockUpstream } from './mock-upstream';
import { type BenchOptions, parseOptions, type SubjectName, USAGE } from './options';
import { monotonicMicros, summariseProfile } from './profile';
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
  try {
    await run(options, projectFolder);
  } finally {
    release();
  }
}

async function run(options: BenchOptions, projectFolder: string): Promise<void> {
  const folder = join(projectFolder, '.data', 'bench');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  // Everything started from here stays off the gateways' core, the stores included.
  execFileSync('taskset', ['-a', '-c', '-p', String(LOAD_CORE), String(process.pid)], { stdio: 'ignore' });

  const found = await findDebianTools(join(projectFolder, '.data', 'tools', 'bench'));
  const tools = 'missing' in found ? undefined : found;
  const toolsLine =
    'missing' in found
      ? `mock upstream and load: Node (nginx and wrk cannot be had: ${found.missing}); they slow the load, not the figures`
      : 'mock upstream: nginx, load: wrk';
  say(toolsLine);
  const bench = { tools, folder, loadCore: LOAD_CORE };
  const mock = await startMockUpstream(tools, folder, LOAD_CORE);
  try {
    if (options.isProfile) await profile(bench, mock, options, projectFolder);
    else await compare(bench, mock, options, projectFolder, toolsLine);
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
  return name === 'tollgate'
    ? startTollgate({ projectFolder, folder: bench.folder, mock, core: GATEWAY_CORE, nodeArguments })
    : startPassThrough(name, { folder: bench.folder, mock, core: GATEWAY_CORE, nodeArguments });
}

/** All subjects stay up and take turns, so that the noise of the machine meets each of them alike. */
async function compare(
  bench: Bench,
  mock: MockUpstream,
  options: BenchOptions,
  projectFolder: string,
  toolsLine: string,
): Promise<void> {
  const subjects: Subject[] = [];
  const samples: Sample[] = [];
  try {
    for (const name of options.subjects) {
      subjects.push(await startSubject(name, bench, mock, projectFolder, options.nodeArguments));
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
  const lastProof = samples.findLast((sample) => sample.proof !== undefined)?.proof;
  if (lastProof !== undefined) {
    say(
      `\nProved after each run: ${lastProof.charges} answers with 2xx = ${lastProof.charges} COMMITTED charges, ` +
        `${lastProof.chargedNanoUsd} nano-USD charged, balance ${lastProof.balanceNanoUsd} exact.`,
    );
    say(`invariants: ${lastProof.invariants}`);
  }
  say(`written: ${writeResults(projectFolder, options, toolsLine, samples)}`);
}

function progressLine(sample: Sample): string {
  const helpers = Object.entries(sample.helpersCpuMicrosPerRequest).map(
    ([name, micros]) => `${name} ${micros.toFixed(1)}`,
  );
  const round = sample.round === 0 ? 'warm-up' : `round ${sample.round}`;
  return (
    `${round.padEnd(8)} ${sample.scenario.padEnd(9)} ${sample.subject.padEnd(9)} ` +
    `${sample.cpuMicrosPerRequest.toFixed(1).padStart(8)} µs/req  ${sample.answersPerSecond.toFixed(0).padStart(6)} req/s  ` +
    [...helpers, sample.proof === undefined ? '' : `proved ${sample.proof.charges} charges`].join('  ')
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
