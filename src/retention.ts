import 'reflect-metadata';
import { parseArgs } from 'node:util';
import { runRetention } from './billing/retention/retention';
import { messageOf } from './kernel/error-message';
import { loadDatabaseUrl } from './platform/config/load-settings';
import { parseMonth } from './platform/database/month-partitions';

const USAGE = `usage: retention --before YYYY-MM [--apply] [--drop]
  Takes every month (UTC) before YYYY-MM out of the ledger's transfers, the request log and its attempts.
  --apply  do it; without, only say what would be done
  --drop   drop what was taken out, also by earlier runs, rather than keep it as …_detached`;

/** `node dist/src/retention.js`: see the README of billing/retention. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { before: { type: 'string' }, apply: { type: 'boolean' }, drop: { type: 'boolean' } },
  });
  const before = parseMonth(values.before ?? '');
  if (before === undefined) throw new Error(USAGE);
  await runRetention({
    databaseUrl: loadDatabaseUrl(),
    before,
    isApplied: values.apply ?? false,
    drops: values.drop ?? false,
    say: (line) => process.stdout.write(`${line}\n`),
  });
}

main().catch((error: unknown) => {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
});
