import { busyShare, coreTicks } from './cpu-clock';
import { between, type Buckets, countOf, cumulativeBuckets, percentile, sum } from './histogram';
import { type LoadResult, runLoad } from './load';
import { type Bench, checkAnswer, measure } from './measure';
import { type MockUpstream, upstreamBaseUrl } from './mock-upstream';
import { type BenchOptions, type SubjectName } from './options';
import { align, median, type Sample, signed } from './report';
import { type Scenario, SCENARIOS } from './scenarios';
import { type Subject } from './subjects/subject';

export interface HalfLoad {
  readonly bench: Bench;
  readonly mock: MockUpstream;
  readonly options: BenchOptions;
  readonly gatewayCore: number;
  readonly start: (name: SubjectName) => Promise<Subject>;
  readonly say: (line: string) => void;
}

export interface HalfLoadSample extends Sample {
  /** Of the core that Redis, Postgres, mock and load share, whoever used it: where it is full, they wait for each other. */
  readonly otherCoreUtilisation: number;
  readonly quotaCheckP50Ms: number;
  readonly quotaCheckP99Ms: number;
  /** Upper bound in ms and observations up to it: what the percentiles were read from. */
  readonly quotaCheckBuckets: readonly (readonly [string, number])[];
  /** The same calls at the same pace, sent to the mock itself. */
  readonly directP50Ms: number;
  readonly directP99Ms: number;
}

interface Measured extends HalfLoadSample {
  readonly buckets: Buckets;
}

const HISTOGRAM = 'quota_check_duration_seconds';
/** So many connections, each with a pause between two calls, that arrivals hardly depend on answers. */
const CONNECTIONS = 256;
const HALF = 0.5;
const TOLERANCE = 0.1;
/** Calibration is content with a pace that is off by this share, so that the samples stay within the tolerance. */
const CLOSE_ENOUGH = 0.06;
const CALIBRATION_SECONDS = 3;
const CALIBRATION_ATTEMPTS = 6;
/** V8 still compiles the long path of a paid request after 10,000 of them. */
const WARM_UP = { seconds: 8, concurrency: 64 };
/** The stores may use so much of the core they share with mock and load; above it that core's queue would be measured. */
const MOST_FOR_STORES = 0.75;
const FIRST_PAUSE_MS = 200;

const UNLIMITED = SCENARIOS['S1-20ms'];
const LIMITED = SCENARIOS['S1-20ms-scopes'];

/** Subjects take turns; each runs both keys at one pace, so that what they differ by is the limits. */
export async function measureHalfLoad(run: HalfLoad): Promise<readonly HalfLoadSample[]> {
  const { options, say } = run;
  const subjects: { readonly subject: Subject; readonly pauseMs: number }[] = [];
  const samples: Measured[] = [];
  try {
    for (const name of options.subjects) {
      const subject = await run.start(name);
      try {
        subjects.push({ subject, pauseMs: await calibrate(run, subject) });
      } catch (error) {
        await subject.stop();
        throw error;
      }
    }
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const { subject, pauseMs } of subjects) {
        const direct = await callDirectly(run, pauseMs);
        for (const scenario of [UNLIMITED, LIMITED]) {
          const sample = await measureOnce(run, { subject, scenario, round, pauseMs, direct });
          samples.push(sample);
          say(progressLine(sample));
        }
      }
    }
  } finally {
    for (const { subject } of subjects.reverse()) await subject.stop();
  }
  say(renderHalfLoad(samples, options.subjects));
  return samples.map(({ buckets, ...sample }) => ({
    ...sample,
    quotaCheckBuckets: [...buckets].map(([bound, count]) => [String(bound * 1000), count] as const),
  }));
}

/**
 * Finds the pace at which the gateway's core is half busy on average of both keys, or, where their core allows no more,
 * the one that the stores can follow.
 * @returns the pause between two calls of a connection: the best of all that were tried
 */
async function calibrate({ bench, gatewayCore, options, say }: HalfLoad, subject: Subject): Promise<number> {
  for (const scenario of [UNLIMITED, LIMITED]) {
    await checkAnswer(subject, scenario);
    await measure(bench, subject, scenario, { round: 0, ...WARM_UP });
  }
  const connections = options.concurrency ?? CONNECTIONS;
  let pauseMs = FIRST_PAUSE_MS;
  let best = { pauseMs, off: Infinity };
  for (let attempt = 1; attempt <= CALIBRATION_ATTEMPTS && best.off > CLOSE_ENOUGH; attempt += 1) {
    const pace = { round: 0, seconds: CALIBRATION_SECONDS, concurrency: connections, pauseMs };
    const tried = [await measure(bench, subject, UNLIMITED, pace), await measure(bench, subject, LIMITED, pace)];
    const mean = (pick: (sample: Sample) => number): number => tried.reduce((all, one) => all + pick(one), 0) / 2;
    const busy = mean((sample) => sample.gatewayUtilisation);
    const perSecond = mean((sample) => sample.answersPerSecond);
    const stores = Math.max(...tried.map(storesShare));
    say(
      `calibrating ${subject.name}: ${perSecond.toFixed(0)} req/s keep core ${gatewayCore} ${percent(busy)} busy, ` +
        `its stores use up to ${percent(stores)} of core ${bench.loadCore}`,
    );
    const wanted = Math.min(HALF / busy, MOST_FOR_STORES / stores);
    const off = Math.abs(1 - 1 / wanted);
    if (off < best.off) best = { pauseMs, off };
    // A connection's time a call is its pause and what the answer takes; only the pause is ours.
    const cycleMs = (connections * 1000) / perSecond;
    pauseMs = Math.max(1, pauseMs + cycleMs / wanted - cycleMs);
  }
  return best.pauseMs;
}

function storesShare({ helpersCpuMicrosPerRequest, answersPerSecond }: Sample): number {
  const micros = Object.values(helpersCpuMicrosPerRequest).reduce((total, each) => total + each, 0);
  return (micros * answersPerSecond) / 1_000_000;
}

function callDirectly({ bench, mock, options }: HalfLoad, pauseMs: number): Promise<LoadResult> {
  return runLoad(
    bench.tools,
    bench.folder,
    {
      url: `${upstreamBaseUrl(mock, UNLIMITED)}/chat/completions`,
      authorization: 'Bearer sk-client',
      body: UNLIMITED.requestBody,
    },
    { seconds: options.seconds, concurrency: options.concurrency ?? CONNECTIONS, core: bench.loadCore, pauseMs },
  );
}

async function measureOnce(
  { bench, options }: HalfLoad,
  run: { subject: Subject; scenario: Scenario; round: number; pauseMs: number; direct: LoadResult },
): Promise<Measured> {
  const { subject, scenario, round, pauseMs, direct } = run;
  const before = await bucketsOf(subject);
  const other = coreTicks(bench.loadCore);
  const sample = await measure(bench, subject, scenario, {
    round,
    seconds: options.seconds,
    concurrency: options.concurrency ?? CONNECTIONS,
    pauseMs,
  });
  const otherCoreUtilisation = busyShare(other, coreTicks(bench.loadCore));
  const buckets = between(before, await bucketsOf(subject));
  if (countOf(buckets) !== sample.answers) {
    throw new Error(`${subject.name}: ${countOf(buckets)} quota checks for ${sample.answers} answers`);
  }
  return {
    ...sample,
    otherCoreUtilisation,
    quotaCheckP50Ms: percentile(buckets, 0.5) * 1000,
    quotaCheckP99Ms: percentile(buckets, 0.99) * 1000,
    quotaCheckBuckets: [],
    buckets,
    directP50Ms: direct.p50Ms,
    directP99Ms: direct.p99Ms,
  };
}

async function bucketsOf(subject: Subject): Promise<Buckets> {
  const text = await subject.scrape();
  if (text === undefined) throw new Error(`--subjects: ${subject.name} checks no quota`);
  return cumulativeBuckets(text, HISTOGRAM);
}

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;

function progressLine(sample: Measured): string {
  return (
    `round ${sample.round}  ${sample.subject.padEnd(17)} ${sample.scenario.padEnd(14)} ` +
    `${sample.answersPerSecond.toFixed(0).padStart(6)} req/s  core ${percent(sample.gatewayUtilisation)}  ` +
    `quota_check ${sample.quotaCheckP50Ms.toFixed(2)} / ${sample.quotaCheckP99Ms.toFixed(2)} ms  ` +
    `proved ${sample.proof?.answers ?? 0} answers`
  );
}

/** quota_check over the observations of all rounds together; whole calls as medians of the rounds. */
function renderHalfLoad(samples: readonly Measured[], subjects: readonly SubjectName[]): string {
  const rows: string[][] = [];
  const added: string[] = [];
  for (const subject of subjects) {
    const of = (scenario: Scenario): Measured[] =>
      samples.filter((sample) => sample.subject === subject && sample.scenario === scenario.name);
    const check = (scenario: Scenario, share: number): number =>
      percentile(sum(of(scenario).map(({ buckets }) => buckets)), share) * 1000;
    for (const scenario of [UNLIMITED, LIMITED]) {
      const middle = (pick: (sample: Measured) => number): number => median(of(scenario).map(pick));
      rows.push([
        subject,
        scenario === LIMITED ? 'every scope' : 'none',
        middle((sample) => sample.answersPerSecond).toFixed(0),
        `${percent(middle((sample) => sample.gatewayUtilisation))}${isHalf(of(scenario)) ? '' : ' (!)'}`,
        percent(middle((sample) => sample.otherCoreUtilisation)),
        check(scenario, 0.5).toFixed(2),
        check(scenario, 0.99).toFixed(2),
        middle((sample) => sample.p50Ms).toFixed(2),
        middle((sample) => sample.p99Ms).toFixed(2),
        middle((sample) => sample.p50Ms - sample.directP50Ms).toFixed(2),
        middle((sample) => sample.p99Ms - sample.directP99Ms).toFixed(2),
      ]);
    }
    const more = (share: number): string => signed(check(LIMITED, share) - check(UNLIMITED, share), 2);
    added.push(`  ${subject}: every scope adds ${more(0.5)} ms to p50 and ${more(0.99)} ms to p99 of quota_check`);
  }
  const columns = ['subject', 'limits', 'req/s', 'gw core', 'other core', 'check p50', 'p99', 'call p50', 'p99'];
  return [
    '',
    `Half load, upstream of ${UNLIMITED.thinkMs} ms, milliseconds`,
    ...align([[...columns, 'over direct p50', 'p99'], ...rows]),
    ...added,
    ...(isHalf(samples)
      ? []
      : ['  (!) not within 40–60 % of its core in each round: noise, or more than the stores can follow on theirs']),
  ].join('\n');
}

function isHalf(samples: readonly Measured[]): boolean {
  return samples.every(({ gatewayUtilisation }) => Math.abs(gatewayUtilisation - HALF) <= TOLERANCE);
}
