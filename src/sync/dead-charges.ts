import { Inject, Injectable, Logger } from '@nestjs/common';
import type { Pool } from 'pg';
import type { EndRow } from '../billing/writer/charge-rows';
import { LedgerService } from '../billing/ledger/ledger.service';
import { ChargeWriter, type EndOutcome } from '../billing/writer/charge-writer';
import { nanoUsd } from '../kernel/money';
import { Settings } from '../platform/config/settings';
import { PG_POOL } from '../platform/database/pg-pool';
import { isRefusedData } from '../platform/database/sql-state';
import { EpochAuthority } from '../quota/epoch-authority';
import type { HoldEntry } from '../quota/hold-entry';
import { type PostedBalance, QUOTA_STORE, type QuotaStore } from '../quota/quota-store.port';
import { type ProcessHold, ProcessHolds } from '../quota/redis/process-holds';
import { StillDamagedError } from '../quota/redis/projection-damage';
import { frozenScopes } from '../quota/scopes/frozen-scopes';
import { tenantBalance, type TenantBalanceRow } from '../quota/tenant-balance';
import { CHARGE_ROW, type ChargeRow, SWEPT_VOID, sweptEnding } from './swept-ending';

export interface Swept {
  /** PENDING rows that became COMMITTED, as their last checkpoint or the policy says. */
  readonly charged: number;
  /** PENDING rows that became VOIDED. */
  readonly voided: number;
  /** Holds that had no row: a VOIDED row was inserted first, so that a late insert collides. */
  readonly orphaned: number;
  /** Holds whose charge had ended, but whose projection was never told. */
  readonly finished: number;
  /** Charges that Postgres did not end, or not in time, and tenants that are damaged once more; for a later pass. */
  readonly refused: number;
  /** False where Redis was away: the rows are ended, the holds are for the next round. */
  readonly sawHolds: boolean;
}

/** What is asked of one pass over what one process left. */
export interface SweepTask {
  readonly processId: string;
  /** No open charge of the process has a smaller id. */
  readonly oldestOpenId: string;
  /** How long an ending is waited for: whoever has locked one tenant's rows must not keep the others' holds. */
  readonly patienceMs: number;
  readonly signal: AbortSignal;
}

interface Pass extends SweepTask {
  readonly refused: Set<string>;
  readonly charged: Set<string>;
  readonly voided: Set<string>;
  readonly orphaned: Set<string>;
  finished: number;
}

/** Charges, or tenants, at once. */
const BATCH = 500;
const NO_TENANT = '00000000-0000-0000-0000-000000000000';

/**
 * Ends what one dead process left: first the rows, which are the truth, then the holds in the projection. Every step has
 * one winner or changes nothing the second time: two may sweep the same process at once, and one may die anywhere.
 */
@Injectable()
export class DeadCharges {
  private readonly logger = new Logger(DeadCharges.name);
  /**
   * Tenants with endings that were not written in time: how many are still with the writer. Until these have settled
   * nothing more is queued for them, so that what waits for a lock is one batch, however many passes meet it.
   */
  private readonly lateEndings = new Map<string, number>();
  /** What of which tenant was not taken when it was last tried. */
  private readonly damaged = new Set<string>();

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly writer: ChargeWriter,
    private readonly ledger: LedgerService,
    @Inject(QUOTA_STORE) private readonly store: QuotaStore,
    private readonly holds: ProcessHolds,
    private readonly epochs: EpochAuthority,
    private readonly settings: Settings,
  ) {}

  /** Rejects where a server failed midway or `signal` aborted: what is left is found again. */
  async sweep(task: SweepTask): Promise<Swept> {
    const pass: Pass = {
      ...task,
      refused: new Set(),
      charged: new Set(),
      voided: new Set(),
      orphaned: new Set(),
      finished: 0,
    };
    await this.endRows(pass);
    // A demoted server's holds are nobody's: only the current one's must go. Where Postgres decides the rows are the holds.
    const isInRows = this.epochs.mode === 'postgres';
    const isInRedis = !isInRows && this.holds.isReady && !this.epochs.isDemoted;
    if (isInRedis) {
      for (const tenantId of await this.tenantsOf(pass)) await this.endHoldsOf(pass, tenantId);
    }
    const { charged, voided, orphaned, finished, refused } = pass;
    return {
      charged: charged.size,
      voided: voided.size,
      orphaned: orphaned.size,
      finished,
      refused: refused.size,
      sawHolds: isInRedis || isInRows,
    };
  }

  /**
   * Once a round, after the holds. A posting that is no charge (adjustment, refund, correction) has no hold by which Redis
   * could show that it was never told of it. Nothing says of which tenants a dead process owed it, so every installed
   * projection hears its balance; one that knows it, or a newer one, changes nothing, and one that is damaged is
   * discarded. Rejects where Redis cannot be reached.
   */
  async tellBalances(signal: AbortSignal): Promise<void> {
    for (let after = NO_TENANT; ;) {
      const { rows } = await this.pool.query<TenantBalanceRow & { readonly tenant_id: string }>(
        `select w.tenant_id, w.posted_nano_usd, w.version
           from tenant_projection p
           join quota_authority a on a.epoch = p.epoch
           join tenant_balance w on w.tenant_id = p.tenant_id
          where p.tenant_id > $1 order by p.tenant_id limit ${BATCH}`,
        [after],
      );
      signal.throwIfAborted();
      await Promise.all(
        rows.map((wallet) =>
          this.isTaken('balance', wallet.tenant_id, this.store.settle(wallet.tenant_id, [], balanceOf(wallet))),
        ),
      );
      const last = rows.at(-1);
      if (!last || rows.length < BATCH) return;
      after = last.tenant_id;
    }
  }

  /**
   * Nothing of the process is left. Its set of tenants stays as long as its row: should it only have been paused, what it
   * reserves before it learns of its death is found by it.
   */
  async forget(processId: string, keptForDays: number): Promise<void> {
    // While Postgres decides Redis may be away for good; a set that stays there is of no more use, nor harm.
    if (this.epochs.mode === 'postgres' && !this.holds.isReady) return;
    await this.holds.forgetTenantsOf(processId, keptForDays);
  }

  private async endRows(pass: Pass): Promise<void> {
    let after: string | null = null;
    for (;;) {
      const { rows }: { rows: ChargeRow[] } = await this.pool.query<ChargeRow>(
        `select ${CHARGE_ROW} from billing_transaction
          where id >= $2 and ($3::uuid is null or id > $3) and process_id = $1 and status = 'PENDING'
          order by id limit ${BATCH}`,
        [pass.processId, after ?? pass.oldestOpenId, after],
      );
      pass.signal.throwIfAborted();
      await Promise.all(rows.map((row) => this.endOpen(pass, row)));
      const last = rows.at(-1);
      if (!last || rows.length < BATCH) return;
      after = last.id;
    }
  }

  /**
   * Where the process may have holds: the tenants it announced in Redis, and those of its rows, because a rebuilt
   * projection has its open holds but not the announcement.
   */
  private async tenantsOf(pass: Pass): Promise<ReadonlySet<string>> {
    const announced = await this.holds.tenantsOf(pass.processId);
    const { rows } = await this.pool.query<{ tenant_id: string }>(
      `select distinct tenant_id from billing_transaction where id >= $2 and process_id = $1`,
      [pass.processId, pass.oldestOpenId],
    );
    return new Set([...announced, ...rows.map((row) => row.tenant_id)]);
  }

  private async endHoldsOf(pass: Pass, tenantId: string): Promise<void> {
    let holds: readonly ProcessHold[] = [];
    const reading = this.holds.of(pass.processId, tenantId).then((found) => (holds = found));
    if (!(await this.isTaken('holds', tenantId, reading))) pass.refused.add(tenantId);
    for (let at = 0; at < holds.length; at += BATCH) {
      await this.endHolds(pass, tenantId, holds.slice(at, at + BATCH));
    }
  }

  /** Each by what stands in the ledger: no hold is released before its row has ended. */
  private async endHolds(pass: Pass, tenantId: string, holds: readonly ProcessHold[]): Promise<void> {
    const { rows } = await this.pool.query<ChargeRow>(
      `select ${CHARGE_ROW} from billing_transaction where id = any ($1)`,
      [holds.map(([holdId]) => holdId)],
    );
    const rowOf = new Map(rows.map((row) => [row.id, row]));
    pass.signal.throwIfAborted();
    const stands = await Promise.all(
      holds.map(([holdId, entry]) => this.endRow(pass, tenantId, holdId, entry, rowOf.get(holdId))),
    );
    const idsThatAre = (status: string): readonly string[] =>
      holds.map(([holdId]) => holdId).filter((_, at) => stands[at] === status);
    const committed = idsThatAre('COMMITTED');
    if (committed.length > 0) {
      const posted = await this.postedOf(tenantId);
      const ended = (await this.ledger.committedHolds(committed)).map((hold) => hold.ended);
      await this.project(pass, tenantId, committed, () => this.store.settle(tenantId, ended, posted));
    }
    const voided = idsThatAre('VOIDED');
    if (voided.length > 0) {
      await this.project(pass, tenantId, voided, () => this.store.release(tenantId, voided));
    }
  }

  private async project(
    pass: Pass,
    tenantId: string,
    holdIds: readonly string[],
    tell: () => Promise<void>,
  ): Promise<void> {
    if (await this.isTaken('endings', tenantId, tell())) {
      const { charged, voided, orphaned } = pass;
      pass.finished += holdIds.filter((id) => !charged.has(id) && !voided.has(id) && !orphaned.has(id)).length;
    } else {
      for (const id of holdIds) pass.refused.add(id);
    }
  }

  /**
   * False where this tenant's projection is damaged once more, so soon after it was discarded: nobody else waits for that.
   * It is logged once, until `what` is taken again. Rejects where Redis cannot be reached.
   */
  private async isTaken(what: string, tenantId: string, told: Promise<unknown>): Promise<boolean> {
    const subject = `${what} ${tenantId}`;
    try {
      await told;
    } catch (error) {
      if (!(error instanceof StillDamagedError)) throw error;
      if (!this.damaged.has(subject)) this.logger.error(error.message);
      this.damaged.add(subject);
      return false;
    }
    this.damaged.delete(subject);
    return true;
  }

  /** What stands of a hold's charge afterwards; undefined where it could not be ended. */
  private async endRow(
    pass: Pass,
    tenantId: string,
    holdId: string,
    entry: HoldEntry,
    row: ChargeRow | undefined,
  ): Promise<'COMMITTED' | 'VOIDED' | undefined> {
    if (row?.status === 'PENDING') return this.endOpen(pass, row);
    if (row) return row.status;
    const outcome = await this.write(pass, this.orphanRow(pass.processId, tenantId, holdId, entry));
    if (outcome === 'voided') pass.orphaned.add(holdId);
    return standing(outcome);
  }

  private async endOpen(pass: Pass, row: ChargeRow): Promise<'COMMITTED' | 'VOIDED' | undefined> {
    if (pass.refused.has(row.id)) return undefined;
    const { id, tenant_id, credit_limit_nano_usd } = row;
    const ending = sweptEnding(row, this.settings.deadChargePolicy);
    const outcome = await this.write(pass, { ...ending, id, tenant_id, credit_limit_nano_usd, is_new: false });
    if (outcome === 'committed') pass.charged.add(id);
    if (outcome === 'voided') pass.voided.add(id);
    return standing(outcome);
  }

  /** Undefined where the row was not taken in time: the others go on, and it is looked at again in a later pass. */
  private async write(pass: Pass, row: EndRow): Promise<EndOutcome | undefined> {
    const outcome = this.lateEndings.has(row.tenant_id) ? undefined : await this.writeInTime(row, pass.patienceMs);
    if (standing(outcome) === undefined) pass.refused.add(row.id);
    return outcome;
  }

  /** Undefined where the row was refused, or is still with the writer when the time is over; it stays there. */
  private async writeInTime(row: EndRow, patienceMs: number): Promise<EndOutcome | undefined> {
    const written = this.tryWrite(row);
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, patienceMs, 'late');
    });
    const outcome = await Promise.race([written, timeout]);
    clearTimeout(timer);
    if (outcome !== 'late') return outcome;
    this.countLate(row.tenant_id, 1);
    void written.then(() => {
      this.countLate(row.tenant_id, -1);
    });
    return undefined;
  }

  /** Never rejects: the writer has logged why. What cannot be charged is voided, so that it does not stay open for ever. */
  private async tryWrite(row: EndRow): Promise<EndOutcome | undefined> {
    try {
      return (await this.writer.write(row)).outcome;
    } catch (error) {
      return row.is_commit && isRefusedData(error) ? this.tryWrite({ ...row, ...SWEPT_VOID }) : undefined;
    }
  }

  private countLate(tenantId: string, change: number): void {
    const before = this.lateEndings.get(tenantId) ?? 0;
    if (before === 0) this.logger.warn(`charges of tenant ${tenantId} cannot be ended now: something holds its rows`);
    if (before + change === 0) this.lateEndings.delete(tenantId);
    else this.lateEndings.set(tenantId, before + change);
  }

  private async postedOf(tenantId: string): Promise<PostedBalance> {
    return balanceOf(await tenantBalance(this.pool, tenantId));
  }

  /** All that is known of a hold without a row; its trace id is lost, its own id stands in. */
  private orphanRow(processId: string, tenantId: string, holdId: string, entry: HoldEntry): EndRow {
    return {
      ...SWEPT_VOID,
      id: holdId,
      tenant_id: tenantId,
      trace_id: holdId,
      channel: 'external',
      is_stream: false,
      epoch: this.epochs.current.toString(),
      process_id: processId,
      hold_nano_usd: entry.amount.toString(),
      credit_limit_nano_usd: '0',
      balance_before_nano_usd: entry.balanceBefore.toString(),
      scopes: frozenScopes(entry.counted),
      funding: entry.funding,
      is_new: true,
    };
  }
}

function balanceOf(wallet: TenantBalanceRow): PostedBalance {
  return { posted: nanoUsd(wallet.posted_nano_usd), version: BigInt(wallet.version) };
}

function standing(outcome: EndOutcome | undefined): 'COMMITTED' | 'VOIDED' | undefined {
  switch (outcome) {
    case 'committed':
    case 'already_committed':
      return 'COMMITTED';
    case 'voided':
    case 'already_voided':
      return 'VOIDED';
    case 'fenced':
    case 'missing':
    case undefined:
      return undefined;
  }
}
