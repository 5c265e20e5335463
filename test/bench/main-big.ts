import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Logger } from '@nestjs/common';
import { Client } from 'pg';
import { checkLedgerInvariant, LEDGER_INVARIANTS } from '../../src/billing/invariants/ledger-invariants';
import { findProjectRoot } from '../../src/platform/config/project-root';
import { runMigrations } from '../../src/platform/database/migrate';
import { prepareDataRoot } from '../../src/platform/embedded/data-root';
import { startEmbeddedPostgres } from '../../src/platform/embedded/embedded-postgres';
import { postgresBinaries } from '../../src/platform/embedded/postgres-binaries';
import { BigLedger } from './big/fill';
import { Pages, type PageTimes } from './big/pages';
import { type Latencies, Settles } from './big/settles';
import { align, median } from './report';
import { claimTheMachine } from './single-run';

const USAGE = 'npm run bench:big -- [--rows 10000000] [--base 20000] [--tenants 1000] [--settles 10000] [--rounds 3]';
const CONCURRENCY = 64;
/** V8 still compiles the writer's long path after some thousands. */
const WARM_UP_SETTLES = 5_000;

interface BigOptions {
  /** Charges in the ledger at the second measurement. */
  readonly rows: number;
  /** At the first. */
  readonly base: number;
  readonly tenants: number;
  readonly settles: number;
  readonly rounds: number;
}

interface Measured {
  readonly rows: number;
  readonly settles: readonly Latencies[];
  readonly pages: PageTimes;
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** @throws Error with one line that names the flag. */
function parseOptions(): BigOptions {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({ options: { rows: text, base: text, tenants: text, settles: text, rounds: text } });
  const number = (flag: keyof BigOptions, byDefault: number, max: number): number => {
    const value = Number(values[flag] ?? byDefault);
    if (!Number.isInteger(value) || value < 1 || value > max) {
      throw new Error(`--${flag}: a whole number from 1 to ${max}`);
    }
    return value;
  };
  const tenants = number('tenants', 1_000, 10_000);
  const base = number('base', 20_000, 1_000_000);
  const rows = number('rows', 10_000_000, 100_000_000);
  if (base % tenants !== 0 || rows % tenants !== 0 || rows <= base) {
    throw new Error(`--base and --rows: multiples of the ${tenants} tenants, --rows the larger`);
  }
  return { tenants, base, rows, settles: number('settles', 10_000, 1_000_000), rounds: number('rounds', 3, 50) };
}

async function main(): Promise<void> {
  let options: BigOptions;
  try {
    options = parseOptions();
  } catch (error) {
    say(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    process.exitCode = 2;
    return;
  }
  Logger.overrideLogger(['error', 'warn']);
  const projectFolder = findProjectRoot();
  const root = prepareDataRoot(join(projectFolder, '.data'), projectFolder);
  const release = claimTheMachine(join(root.folder, 'bench.pid'));
  const folder = join(root.folder, 'bench-big');
  // What a killed run left goes first; embedded servers do not keep their parent alive while it waits for their end.
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o711 });
  const alive = setInterval(() => undefined, 60_000);
  try {
    const postgres = await startEmbeddedPostgres({
      folder: join(folder, 'postgres'),
      binaries: postgresBinaries(projectFolder, root.folder, root.user),
      logFile: join(folder, 'postgres.log'),
      user: root.user,
      port: 18_300,
      isDurable: true,
    });
    try {
      report(projectFolder, options, await compare(options, postgres.url));
    } finally {
      await postgres.stop();
    }
  } finally {
    clearInterval(alive);
    rmSync(folder, { recursive: true, force: true });
    release();
  }
}

/** The same ledger, small and then big, with nothing else changed. */
async function compare(options: BigOptions, databaseUrl: string): Promise<readonly [Measured, Measured]> {
  await runMigrations(databaseUrl);
  const client = new Client(databaseUrl);
  await client.connect();
  await client.query(`alter system set max_wal_size = '4GB'`);
  await client.query('select pg_reload_conf()');
  const ledger = await BigLedger.create(client, { tenants: options.tenants, totalRows: options.rows, say });
  const settles = await Settles.open(databaseUrl, client, ledger.tenants);
  const pages = await Pages.open(databaseUrl);
  const measure = async (rows: number): Promise<Measured> => {
    await ledger.fillTo(rows);
    await settles.measure(WARM_UP_SETTLES, CONCURRENCY);
    const rounds: Latencies[] = [];
    for (let round = 1; round <= options.rounds; round++) {
      const latencies = await settles.measure(options.settles, CONCURRENCY);
      rounds.push(latencies);
      const { p50Ms, p99Ms, perSecond } = latencies;
      say(`${rows} rows, round ${round}: settle p50 ${ms(p50Ms)}, p99 ${ms(p99Ms)}, ${perSecond.toFixed(0)} a second`);
    }
    const [tenant] = ledger.tenants;
    if (!tenant) throw new Error('there are no tenants');
    await pages.measure(tenant);
    return { rows, settles: rounds, pages: await pages.measure(tenant) };
  };
  try {
    const before = await measure(options.base);
    const after = await measure(options.rows);
    await prove(client);
    return [before, after];
  } finally {
    await Promise.all([settles.close(), pages.close(), client.end()]);
  }
}

/** What was filled in and what was settled on it is one ledger. */
async function prove(client: Client): Promise<void> {
  const { rows } = await client.query<{ size: string }>(
    'select pg_size_pretty(pg_database_size(current_database())) as size',
  );
  say(`the database has ${rows[0]?.size ?? ''}`);
  for (const invariant of LEDGER_INVARIANTS.filter(({ id }) => id === 'I1' || id === 'I3')) {
    const { verdict, examples } = await checkLedgerInvariant(client, invariant);
    say(`${invariant.id} ${verdict}`);
    if (verdict !== 'holds') throw new Error(`${invariant.id}: ${examples.join('; ')}`);
  }
}

function report(projectFolder: string, options: BigOptions, [before, after]: readonly [Measured, Measured]): void {
  const middle = ({ settles }: Measured, of: (latencies: Latencies) => number): number => median(settles.map(of));
  const lines: [string, number, number][] = [
    ['settle p50', middle(before, (l) => l.p50Ms), middle(after, (l) => l.p50Ms)],
    ['settle p99', middle(before, (l) => l.p99Ms), middle(after, (l) => l.p99Ms)],
    ...Object.entries(before.pages).map(([name, beforeMs]): [string, number, number] => [
      name,
      beforeMs,
      after.pages[name] ?? Number.NaN,
    ]),
  ];
  const ratios = Object.fromEntries(lines.map(([name, beforeMs, afterMs]) => [name, afterMs / beforeMs]));
  const table = lines.map(([name, b, a]) => [name, ms(b), ms(a), (a / b).toFixed(2)]);
  say(align([['', `${before.rows} rows`, `${after.rows} rows`, 'ratio'], ...table]).join('\n'));
  const results = join(projectFolder, 'bench-results');
  mkdirSync(results, { recursive: true });
  const file = join(results, `${new Date().toISOString().replace(/[:.]/g, '-')}-big.json`);
  const machine = { node: process.version, cpu: cpus()[0]?.model, cores: cpus().length };
  writeFileSync(file, `${JSON.stringify({ machine, options, before, after, ratios }, null, 2)}\n`);
  say(`written: ${file}`);
}

function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}

main().catch((error: unknown) => {
  process.stderr.write(`bench: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
});
