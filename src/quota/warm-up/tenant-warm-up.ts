import { Inject, Injectable, Logger } from '@nestjs/common';
import type { Pool, PoolClient } from 'pg';
import { CLOCK, type Clock } from '../../kernel/clock';
import { newId, floorOfTime } from '../../kernel/ids';
import { nanoUsd } from '../../kernel/money';
import { Singleflight } from '../../kernel/singleflight';
import { calendarWindow, type CalendarWindow } from '../../kernel/windows';
import { PG_POOL } from '../../platform/database/pg-pool';
import { withTransaction } from '../../platform/database/with-transaction';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { ScriptRegistry } from '../../platform/redis/script-registry';
import { EpochAuthority } from '../epoch-authority';
import { formatHoldEntry } from '../hold-entry';
import { OLDEST_OPEN_ID } from '../oldest-open-id';
import { holdsKey, quotaKey } from '../quota-keys';
import { QuotaUnavailableError, type TenantLimits } from '../quota-store.port';

/** How long an install may stay under way: well below the idle timeout that would end its wallet lock. */
const INSTALL_WITHIN_MS = 2_000;
const LOCK_ENDS_AFTER_MS = 5_000;

interface OpenHoldRow {
  id: string;
  hold_nano_usd: string;
  process_id: string | null;
  day_ms: string;
  month_ms: string;
  created_ms: string;
  balance_before_nano_usd: string | null;
}

/**
 * Rebuilds one tenant's projection from the ledger: posted balance and version, open holds from PENDING rows, counters
 * from the rows of the current windows.
 *
 * It holds the tenant's wallet row from reading to installing. Settles and voids take that row too, so none commits in
 * between; PENDING rows of this epoch cannot exist before it is installed, and older ones are fenced off. An install that
 * is delayed past the lock refuses itself by Redis' own clock. One load a process at a time; of several processes, the
 * first installs and the others find that it stands.
 */
@Injectable()
export class TenantWarmUp {
  private readonly logger = new Logger(TenantWarmUp.name);
  private readonly flights = new Singleflight<undefined>();

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly connection: RedisConnection,
    private readonly scripts: ScriptRegistry,
    private readonly epochs: EpochAuthority,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** Afterwards the projection stands in `epoch` or a later one. Throws QuotaUnavailableError where it cannot. */
  install(limits: TenantLimits, epoch: bigint): Promise<undefined> {
    return this.flights.run(limits.tenantId, async () => {
      try {
        const lost = await withTransaction(this.pool, (client) => this.installLocked(client, limits, epoch));
        if (lost) await this.epochs.raiseBeyond(epoch, `the projection of tenant ${limits.tenantId} was lost`);
        return undefined;
      } catch (error) {
        throw new QuotaUnavailableError('the tenant could not be loaded', { cause: error });
      }
    });
  }

  /** True where this epoch's projection had been installed before and is gone. */
  private async installLocked(client: PoolClient, limits: TenantLimits, epoch: bigint): Promise<boolean> {
    const { tenantId } = limits;
    await client.query(`set local idle_in_transaction_session_timeout = ${LOCK_ENDS_AFTER_MS}`);
    const wallet = await lockWallet(client, tenantId);
    const standing = await this.connection.client.hget(quotaKey(tenantId), 'epoch');
    if (standing !== null && BigInt(standing) >= epoch) return false;
    const installed = await client.query(
      `insert into tenant_projection (tenant_id, epoch) values ($1, $2)
         on conflict (tenant_id) do update set epoch = excluded.epoch, installed_at = now()
         where tenant_projection.epoch < excluded.epoch`,
      [tenantId, epoch.toString()],
    );
    if (installed.rowCount === 0) return true;
    await this.send(client, limits, epoch, wallet);
    return false;
  }

  private async send(client: PoolClient, limits: TenantLimits, epoch: bigint, wallet: WalletRow): Promise<void> {
    const { tenantId, timezone } = limits;
    const [seconds, micros] = await this.connection.client.time();
    const redisNowMs = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
    const nowMs = redisNowMs + this.clock.offsetMs;
    const day = calendarWindow(nowMs, timezone, 'day');
    const month = calendarWindow(nowMs, timezone, 'month');
    const counted = await countRequests(client, tenantId, day, month);
    const holds = await openHolds(client, tenantId);
    const reply = await this.scripts.bind('quota_install')(
      2,
      quotaKey(tenantId),
      holdsKey(tenantId),
      epoch.toString(),
      (redisNowMs + INSTALL_WITHIN_MS).toString(),
      wallet.posted_nano_usd,
      wallet.version,
      day.startMs.toString(),
      counted.today,
      month.startMs.toString(),
      counted.this_month,
      ...holds.flatMap((hold) => [hold.id, entryOf(hold)]),
    );
    const [outcome] = typeof reply === 'number' ? [] : reply;
    if (outcome === 'LATE') throw new Error('the install took too long');
    this.logger.debug(`tenant ${tenantId} ${String(outcome)} in epoch ${epoch} with ${holds.length} open holds`);
  }
}

interface WalletRow {
  posted_nano_usd: string;
  version: string;
}

/** Creates the tenant's accounts on first use, safely under concurrency, and locks the wallet until the transaction ends. */
async function lockWallet(client: PoolClient, tenantId: string): Promise<WalletRow> {
  const lock = `select posted_nano_usd, version from ledger_account where tenant_id = $1 and name = 'wallet' for update`;
  const found = await client.query<WalletRow>(lock, [tenantId]);
  if (found.rows[0]) return found.rows[0];
  await client.query(
    `insert into ledger_account (id, tenant_id, name, posted_nano_usd)
       values ($1, $3, 'wallet', 0), ($2, $3, 'overrun', 0) on conflict do nothing`,
    [newId(), newId(), tenantId],
  );
  const [created] = (await client.query<WalletRow>(lock, [tenantId])).rows;
  if (!created) throw new Error(`tenant ${tenantId} has no wallet`);
  return created;
}

/** Requests that count in the two windows: admitted and not voided, by the window frozen at the reserve. */
async function countRequests(
  client: PoolClient,
  tenantId: string,
  day: CalendarWindow,
  month: CalendarWindow,
): Promise<{ today: string; this_month: string }> {
  const { rows } = await client.query<{ today: string; this_month: string }>(
    `select count(*) filter (where day_window_start = to_timestamp($2::bigint / 1000.0)) as today,
            count(*) filter (where month_window_start = to_timestamp($3::bigint / 1000.0)) as this_month
       from billing_transaction
      where tenant_id = $1 and trace_id >= $4 and type = 'charge' and status <> 'VOIDED'`,
    [tenantId, day.startMs, month.startMs, floorOfTime(Math.min(day.startMs, month.startMs) - CLOCK_SLACK_MS)],
  );
  return rows[0] ?? { today: '0', this_month: '0' };
}

/** A process may make ids by a clock this far from Redis'. */
const CLOCK_SLACK_MS = 15 * 60_000;

async function openHolds(client: PoolClient, tenantId: string): Promise<readonly OpenHoldRow[]> {
  const { rows } = await client.query<OpenHoldRow>(
    `select id, hold_nano_usd, process_id, balance_before_nano_usd,
            (extract(epoch from day_window_start) * 1000)::bigint as day_ms,
            (extract(epoch from month_window_start) * 1000)::bigint as month_ms,
            (extract(epoch from created_at) * 1000)::bigint as created_ms
       from billing_transaction
      where tenant_id = $1 and status = 'PENDING'
        and trace_id >= ${OLDEST_OPEN_ID}
      order by id`,
    [tenantId],
  );
  return rows;
}

function entryOf(row: OpenHoldRow): string {
  return formatHoldEntry({
    amount: nanoUsd(row.hold_nano_usd),
    dayStartMs: Number(row.day_ms),
    monthStartMs: Number(row.month_ms),
    processId: row.process_id ?? '',
    reservedAtMs: Number(row.created_ms),
    balanceBefore: nanoUsd(row.balance_before_nano_usd ?? '0'),
    usedToday: 0,
    usedThisMonth: 0,
  });
}
