import { Pool } from 'pg';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import type { LedgerService } from '../../src/billing/ledger/ledger.service';
import { type Retention, runRetention } from '../../src/billing/retention/retention';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import { type Month, readMonthPartitions, startOfMonth } from '../../src/platform/database/month-partitions';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import {
  adjust,
  createTenant,
  type MoneyProcess,
  openCharge,
  outputOf,
  startMoneyProcess,
} from '../support/money-harness';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

const MONTHS = 4;

/** A tenant that has lived through the current month and the four before it, and money of this month to go on with. */
export class RetentionStage {
  /** What retention has said. */
  lines: string[] = [];
  /** A charge of each month, oldest first. */
  readonly charges: string[] = [];

  private constructor(
    readonly database: TestDatabase,
    private readonly redis: TestRedis,
    readonly money: MoneyProcess,
    readonly owner: Pool,
    readonly now: Month,
    readonly tenant: CallerLimits,
  ) {}

  static async open(): Promise<RetentionStage> {
    const [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    const money = await startMoneyProcess({ databaseUrl: database.url, redisUrl: redis.url });
    const owner = new Pool({ connectionString: database.url, max: 4 });
    owner.on('error', () => undefined);
    const now = (await readMonthPartitions(owner)).current;
    await owner.query('select create_month_partitions($1, $2)', [startOfMonth(now - MONTHS), MONTHS]);
    const tenant = await createTenant(money, nanoUsd(0n));
    const stage = new RetentionStage(database, redis, money, owner, now, tenant);
    for (let ago = MONTHS; ago >= 0; ago--) stage.charges.push(await stage.liveThroughMonth(ago));
    await stage.credit(5_000n);
    return stage;
  }

  async close(): Promise<void> {
    await Promise.all([this.money.close(), this.owner.end()]);
    await this.redis.stop();
    await this.database.drop();
  }

  /** Known to quota, too, when it resolves. */
  async credit(amount: bigint, account: 'wallet' | 'promo' = 'wallet'): Promise<void> {
    await adjust(this.money, this.tenant.tenantId, nanoUsd(amount), account);
    await this.money.module.get(ProjectionQueue).drain(5_000);
  }

  async charge(cost: number): Promise<string> {
    // Held at less than it costs: what exceeds it goes to overrun.
    const open = await openCharge(this.money, this.tenant, 10n);
    await open.settle(outputOf(cost));
    return open.held.holdId;
  }

  refundOf(chargeId: string): Parameters<LedgerService['refund']>[0] {
    return { tenantId: this.tenant.tenantId, chargeId, reasonCode: 'TEST_REFUND', description: 'test' };
  }

  /** Takes out what is older than so many months. */
  retain(monthsAgo: number, options: Partial<Retention> = {}): Promise<void> {
    return runRetention({
      databaseUrl: this.database.url,
      before: this.now - monthsAgo,
      isApplied: true,
      drops: false,
      say: (line) => void this.lines.push(line),
      ...options,
    });
  }

  async violations(): Promise<readonly string[]> {
    const results = await this.money.module.get(Invariants).check();
    return results.flatMap(({ id, verdict, examples }) =>
      verdict === 'holds' ? [] : [`${id} ${verdict}`, ...examples],
    );
  }

  async tablesLike(pattern: string): Promise<string[]> {
    const { rows } = await this.owner.query<{ name: string }>(
      `select relname as name from pg_class where relkind in ('r', 'p') and relname like $1 order by 1`,
      [pattern],
    );
    return rows.map(({ name }) => name);
  }

  async attached(): Promise<readonly Month[]> {
    return (await readMonthPartitions(this.owner)).of.ledger_transfer;
  }

  /** By name; a tenant's as it stands, the house's from opening balances and transfers. */
  async balances(): Promise<Record<string, string>> {
    const { rows } = await this.owner.query<{ name: string; posted: string }>(
      `select a.name, coalesce(a.posted_nano_usd::numeric, coalesce(o.posted, 0) + coalesce(t.posted, 0)) as posted
         from ledger_account a
         left join (select account_id, posted_nano_usd as posted from ledger_opening_balance
                     where month = (select max(month) from ledger_opening_balance)) o on o.account_id = a.id
         left join (select account_id, sum(amount) as posted from (
                      select debit_account_id as account_id, -amount_nano_usd as amount from ledger_transfer
                      union all select credit_account_id, amount_nano_usd from ledger_transfer) e group by 1) t
                on t.account_id = a.id`,
    );
    return Object.fromEntries(rows.map(({ name, posted }) => [name, posted]));
  }

  /** Credit, charges that go to promo, wallet and overrun, and a refund: all of one month that was `ago` months before now. */
  private async liveThroughMonth(ago: number): Promise<string> {
    await this.credit(100n, 'promo');
    await this.credit(2_000n);
    const kept = await this.charge(250);
    await this.money.ledger.refund(this.refundOf(await this.charge(300)));
    await this.charge(1_900);
    await this.owner.query(
      `insert into request_log (id, tenant_id, channel, route, is_stream, status, duration_ms)
         values ($1, $2, 'external', '/v1/chat/completions', false, 200, 1)`,
      [idIn(this.now - ago), this.tenant.tenantId],
    );
    await this.owner.query(
      `insert into request_attempt (request_id, attempt, tenant_id, outcome, is_served, duration_ms, paid_by)
         values ($1, 1, $2, 'served', true, 1, 'tenant')`,
      [idIn(this.now - ago), this.tenant.tenantId],
    );
    if (ago > 0) await this.backdate(ago);
    return kept;
  }

  /** What was written this month becomes that of an older one; past the triggers, as time alone can do it. */
  private async backdate(ago: number): Promise<void> {
    const client = await this.owner.connect();
    await client.query(`set session_replication_role = replica`);
    const within = `created_at >= $2`;
    const back = `- make_interval(months => $1)`;
    const values = [ago, startOfMonth(this.now)];
    await client.query(`update ledger_transfer set created_at = created_at ${back} where ${within}`, values);
    await client.query(
      `update billing_transaction set created_at = created_at ${back}, ended_at = ended_at ${back} where ${within}`,
      values,
    );
    await client.query(`reset session_replication_role`);
    client.release();
  }
}

function idIn(month: Month): string {
  const hex = (Date.parse(startOfMonth(month)) + 1_000).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}${newId().slice(13)}`;
}

const PATIENCE_MS = 20_000;

/** Does `between` again and again until it is so. */
export async function until(isTrue: () => boolean, between: () => Promise<void> = nextTick): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (!isTrue()) {
    if (performance.now() > deadlineMs) throw new Error(`it is not so after ${PATIENCE_MS} ms`);
    await between();
  }
}

function nextTick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
