import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { type Month, nameOfMonth, partitionOf } from '../../platform/database/month-partitions';
import { pgConnection } from '../../platform/database/pg-connection';
import { isContention } from '../../platform/database/sql-state';
import { checkLedgerInvariant, LEDGER_INVARIANTS } from '../invariants/ledger-invariants';
import { DETACHED, newestOpening, type PlannedMonth, planRetention, type RetentionPlan } from './retention-plan';

export interface Retention {
  readonly databaseUrl: string;
  /** Every month before this one is taken out. */
  readonly before: Month;
  /** False: says what it would do, and does nothing. */
  readonly isApplied: boolean;
  /** Also drops what was taken out, now and by earlier runs. */
  readonly drops: boolean;
  /** Hears of each step, a line at a time. */
  readonly say: (line: string) => void;
}

/** Expected: the months cannot be taken out as things are. Nothing that is not whole was changed. */
export class RetentionRefused extends Error {
  override readonly name = 'RetentionRefused';
}

/** Any number that nothing else in the database locks: who holds it takes months out. */
const RETENTION_LOCK = 7_305_114_003;
/** The lock that takes a month out stands in every writer's way, and so does waiting for it: shorter than they wait for one. */
const DETACH_LOCK_MS = 150;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;
const ATTEMPTS = 100;
const SAY_EVERY = 10;
/** These compare transfers with what they belong to: once the month is out, nobody can. */
const PROOF: ReadonlySet<string> = new Set(['I1', 'I3', 'I4', 'I5']);

/**
 * Takes whole months out of ledger_transfer, request_log and request_attempt, oldest first, as the URL's own user. Each is one
 * transaction: of the ledger it first writes what all accounts came to at the month's end (ledger_opening_balance), then
 * detaches the partition, which stays as `…_detached`. So it may be killed anywhere and run again. Throws RetentionRefused.
 */
export async function runRetention(retention: Retention): Promise<void> {
  const client = new Client(pgConnection({ url: retention.databaseUrl }, { applicationName: 'tollgate-retention' }));
  // A lost connection fails its statement; without a listener it would end the process.
  client.on('error', () => undefined);
  await client.connect();
  try {
    // Ours being killed must not leave a long statement behind, with its locks.
    await client.query(`set client_connection_check_interval = '2s'`);
    const { rows } = await client.query<{ is_ours: boolean }>(`select pg_try_advisory_lock($1) as is_ours`, [
      RETENTION_LOCK,
    ]);
    if (rows[0]?.is_ours !== true) throw new RetentionRefused('another retention run is at work');
    await new RetentionRun(client, retention).run();
  } finally {
    await client.end();
  }
}

class RetentionRun {
  constructor(
    private readonly client: Client,
    private readonly retention: Retention,
  ) {}

  async run(): Promise<void> {
    const { before, isApplied, drops, say } = this.retention;
    const plan = await planRetention(this.client, before);
    this.tell(plan);
    if (plan.objections.length > 0) throw new RetentionRefused(plan.objections.join('\n'));
    if (!isApplied) {
      say('dry run: nothing was changed (--apply does it)');
      return;
    }
    if (plan.months.some(({ table }) => table === 'ledger_transfer')) await this.prove();
    for (const planned of plan.months) {
      if (planned.table === 'ledger_transfer') await this.takeOutLedger(planned);
      else await this.takeOut(planned);
    }
    if (drops) await this.drop([...plan.kept, ...plan.months.map((planned) => `${nameOf(planned)}${DETACHED}`)]);
    say('done');
  }

  private tell({ months, kept }: RetentionPlan): void {
    const { before, drops, say } = this.retention;
    if (months.length === 0) say(`no month before ${nameOfMonth(before)} is there`);
    for (const planned of months) {
      const what = planned.table === 'ledger_transfer' ? 'opening balances, then taken out' : 'taken out';
      say(`${nameOf(planned)}: ${planned.rows} rows, ${planned.size}: ${what}${drops ? ' and dropped' : ''}`);
    }
    if (drops) for (const name of kept) say(`${name}: dropped`);
    else if (kept.length > 0) say(`kept from earlier runs (--drop drops them): ${kept.join(', ')}`);
  }

  /** What a month's transfers are proof of is checked while they are there. */
  private async prove(): Promise<void> {
    this.retention.say('checking the ledger…');
    await this.client.query('begin isolation level repeatable read read only');
    try {
      for (const invariant of LEDGER_INVARIANTS.filter(({ id }) => PROOF.has(id))) {
        const { verdict, violations, examples } = await checkLedgerInvariant(this.client, invariant);
        if (verdict === 'holds') continue;
        throw new RetentionRefused(
          `${invariant.id} is violated (${violations} times): find out why first\n${examples.join('\n')}`,
        );
      }
    } finally {
      await this.client.query('rollback');
    }
  }

  private async takeOutLedger(planned: PlannedMonth): Promise<void> {
    await this.inTransaction(async () => {
      const name = nameOf(planned);
      // Readers go on, also of this month; nobody writes to it any more.
      await this.client.query(`lock table ${name} in share mode`);
      this.retention.say(`${name}: adding up ${planned.rows} transfers…`);
      const accounts = await this.writeOpening(planned.month, name);
      this.retention.say(`${name}: opening balances of ${accounts} accounts`);
      await this.detach(planned);
    });
  }

  private takeOut(planned: PlannedMonth): Promise<void> {
    return this.inTransaction(() => this.detach(planned));
  }

  private async writeOpening(month: Month, partition: string): Promise<number> {
    const opening = await newestOpening(this.client);
    const { rowCount } = await this.client.query(
      `insert into ledger_opening_balance (month, account_id, posted_nano_usd, version)
       select $1::date, account_id, sum(posted), sum(version) from (
         select account_id, posted_nano_usd as posted, version from ledger_opening_balance where month = $2::date
         union all
         select debit_account_id, -sum(amount_nano_usd), count(debit_version) from ${partition} group by 1
         union all
         select credit_account_id, sum(amount_nano_usd), count(credit_version) from ${partition} group by 1) entries
       group by account_id`,
      [firstDayOf(month), opening === undefined ? null : firstDayOf(opening)],
    );
    return rowCount ?? 0;
  }

  /** Nobody waits for us longer than DETACH_LOCK_MS: where a lock is not free in that time, they go first. */
  private async detach(planned: PlannedMonth): Promise<void> {
    const name = nameOf(planned);
    await this.whenFree(name, async () => {
      await this.client.query('select pg_advisory_xact_lock(month_partitions_lock())');
      await this.client.query(`alter table ${planned.table} detach partition ${name}`);
      await this.client.query(`alter table ${name} rename to ${name}${DETACHED}`);
    });
    this.retention.say(`${name}: taken out as ${name}${DETACHED}`);
  }

  private async drop(names: readonly string[]): Promise<void> {
    for (const name of names) {
      await this.inTransaction(() =>
        this.whenFree(name, async () => {
          await this.client.query(`drop table ${name}`);
        }),
      );
      this.retention.say(`${name}: dropped`);
    }
  }

  /** Within a transaction: what failed for a lock is taken back alone, and what was done before it stands. */
  private async whenFree(name: string, work: () => Promise<void>): Promise<void> {
    await this.client.query(`set local lock_timeout = ${DETACH_LOCK_MS}`);
    for (let attempt = 1; ; attempt++) {
      await this.client.query('savepoint attempt');
      try {
        await work();
        return;
      } catch (error) {
        if (!isContention(error)) throw error;
        await this.client.query('rollback to savepoint attempt');
        if (attempt >= ATTEMPTS) {
          throw new RetentionRefused(
            `${name} was in use all the time and stays as it was: run again at a quieter hour`,
          );
        }
      }
      if (attempt % SAY_EVERY === 0) this.retention.say(`${name}: in use, tried ${attempt} times…`);
      await pause(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * attempt));
    }
  }

  private async inTransaction(work: () => Promise<void>): Promise<void> {
    await this.client.query('begin');
    try {
      await work();
      await this.client.query('commit');
    } catch (error) {
      // A connection that broke has rolled back by itself.
      await this.client.query('rollback').catch(() => undefined);
      throw error;
    }
  }
}

function nameOf({ table, month }: PlannedMonth): string {
  return partitionOf(table, month);
}

function firstDayOf(month: Month): string {
  return `${nameOfMonth(month)}-01`;
}
