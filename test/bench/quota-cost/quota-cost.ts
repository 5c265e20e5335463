import { execFileSync } from 'node:child_process';
import { startMoneyProcess } from '../../support/money-harness';
import { type BenchOptions } from '../options';
import { align, median, signed } from '../report';
import { startStores, type Stores } from '../stores';
import { PostgresCaller, proveInvariants } from './postgres-cost';
import { RedisCaller } from './redis-cost';
import { scopeRows } from './scope-rows';

export interface QuotaCostRun {
  readonly options: BenchOptions;
  readonly projectFolder: string;
  readonly folder: string;
  /** Where this process drives from; the stores stay on the other. */
  readonly driverCore: number;
  readonly say: (line: string) => void;
}

/** Microseconds a call. */
export interface QuotaCostSample {
  readonly store: 'redis' | 'postgres';
  readonly row: string;
  readonly scopes: number;
  readonly round: number;
  readonly micros: Readonly<Record<string, number>>;
}

const IN_FLIGHT = 32;
/** Reservations that Postgres takes in one statement. */
const WAVE_SIZE = 64;
/** A reservation costs Postgres several times what it costs Redis: as much time for both. */
const POSTGRES_SHARE = 1 / 4;

/**
 * What a reservation costs, limit by limit: CPU of Redis a script, and CPU of Postgres a reservation where it decides. Rows
 * take turns within a round.
 */
export async function measureQuotaCost(run: QuotaCostRun): Promise<readonly QuotaCostSample[]> {
  const stops: (() => Promise<void>)[] = [];
  try {
    const start = (owner: string, hasRedis: boolean): Promise<Stores> =>
      startStores({ ...run, owner, hasRedis }, stops);
    // Started while this process is pinned where they belong; then it leaves them the core.
    const withRedis = await start('quota-redis', true);
    const alone = await start('quota-postgres', false);
    execFileSync('taskset', ['-a', '-c', '-p', String(run.driverCore), String(process.pid)], { stdio: 'ignore' });
    const inRedis = await costInRedis(run, withRedis);
    const inPostgres = await costInPostgres(run, alone);
    run.say(renderQuotaCost(inRedis, `CPU-µs of Redis a call, ${inFlight(run)} in flight`));
    run.say(renderQuotaCost(inPostgres, `CPU-µs of Postgres a reservation, ${WAVE_SIZE} a statement`));
    return [...inRedis, ...inPostgres];
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
}

const inFlight = ({ options }: QuotaCostRun): number => options.concurrency ?? IN_FLIGHT;

async function costInRedis(run: QuotaCostRun, { databaseUrl, redis }: Stores): Promise<QuotaCostSample[]> {
  if (redis === undefined) throw new Error('no Redis was started');
  const money = await startMoneyProcess({ databaseUrl, redisUrl: redis.url });
  try {
    const callers: [string, RedisCaller][] = [];
    for (const row of scopeRows()) {
      callers.push([row.name, await RedisCaller.create(money, row, { redisPid: redis.pid, inFlight: inFlight(run) })]);
    }
    return await inTurns(run, 'redis', callers, async (caller) => {
      const { deduct, end } = await caller.measure(run.options.calls);
      return {
        quota_deduct: deduct.cpuMicros,
        'of it script': deduct.scriptMicros,
        quota_end: end.cpuMicros,
        'of it script ': end.scriptMicros,
      };
    });
  } finally {
    await money.close();
  }
}

async function costInPostgres(run: QuotaCostRun, { databaseUrl, postgresPid }: Stores): Promise<QuotaCostSample[]> {
  const money = await startMoneyProcess({ databaseUrl, redisUrl: 'none' });
  try {
    const callers: [string, PostgresCaller][] = [];
    for (const row of scopeRows().filter(({ name }) => name !== 'rolling')) {
      callers.push([row.name, await PostgresCaller.create(money, row, { postgresPid, waveSize: WAVE_SIZE })]);
    }
    const waves = Math.ceil((run.options.calls * POSTGRES_SHARE) / WAVE_SIZE);
    const samples = await inTurns(run, 'postgres', callers, async (caller) => ({
      quota_reserve: await caller.measure(waves),
    }));
    await proveInvariants(money);
    return samples;
  } finally {
    await money.close();
  }
}

async function inTurns<C extends { readonly scopes: number }>(
  { options, say }: QuotaCostRun,
  store: QuotaCostSample['store'],
  callers: readonly [string, C][],
  measure: (caller: C) => Promise<Readonly<Record<string, number>>>,
): Promise<QuotaCostSample[]> {
  const samples: QuotaCostSample[] = [];
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const [row, caller] of callers) {
      const micros = await measure(caller);
      samples.push({ store, row, scopes: caller.scopes, round, micros });
      const each = Object.entries(micros).map(([name, value]) => `${name.trim()} ${value.toFixed(1)}`);
      say(`round ${round}  ${store.padEnd(8)}  ${row.padEnd(9)}  ${each.join('  ')} µs`);
    }
  }
  return samples;
}

/** Medians of the rounds; in brackets what they are above the first row. */
function renderQuotaCost(samples: readonly QuotaCostSample[], title: string): string {
  const names = Object.keys(samples[0]?.micros ?? {});
  const middle = (row: string | undefined, name: string): number =>
    median(samples.filter((sample) => sample.row === row).map(({ micros }) => micros[name] ?? Number.NaN));
  const rows = [...new Map(samples.map(({ row, scopes }) => [row, scopes]))];
  const first = rows[0]?.[0];
  const cells = rows.map(([row, scopes]) => [
    row,
    String(scopes),
    ...names.flatMap((name) => {
      const value = middle(row, name);
      return [value.toFixed(1), row === first ? '' : `(${signed(value - middle(first, name), 1)})`];
    }),
  ]);
  return ['', title, ...align([['limits', 'scopes', ...names.flatMap((name) => [name.trim(), ''])], ...cells])].join(
    '\n',
  );
}
