import { Inject, Injectable } from '@nestjs/common';
import type { Pool } from 'pg';
import { ProjectionQueue } from '../billing/settlement/projection-queue';
import { type EndRow, voidFields } from '../billing/writer/charge-rows';
import { ChargeWriter } from '../billing/writer/charge-writer';
import { nanoUsd } from '../kernel/money';
import { PG_POOL } from '../platform/database/pg-pool';
import { RedisConnection } from '../platform/redis/redis-connection';
import { EpochAuthority } from '../quota/epoch-authority';
import { type HoldEntry, parseHoldEntry } from '../quota/hold-entry';
import { holdsKey, tenantsOfProcessKey } from '../quota/quota-keys';

export interface Swept {
  /** PENDING rows that became VOIDED. */
  readonly voided: number;
  /** Holds that had no row: a VOIDED row was inserted first, so that a late insert collides. */
  readonly orphaned: number;
  /** Holds whose charge had ended, but whose projection was never told. */
  readonly finished: number;
}

interface PendingRow {
  readonly id: string;
  readonly tenant_id: string;
  readonly credit_limit_nano_usd: string;
}

const BATCH = 500;
const REASON = { reasonCode: 'PROCESS_DEAD', endReason: 'process_dead' } as const;

/** Ends what one dead process left: first the rows, which are the truth, then the holds in the projection. */
@Injectable()
export class DeadCharges {
  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly writer: ChargeWriter,
    private readonly projection: ProjectionQueue,
    private readonly connection: RedisConnection,
    private readonly epochs: EpochAuthority,
  ) {}

  /** Undefined where Redis could not be asked: the rows are ended, the holds wait for the next round. */
  async sweep(processId: string, oldestOpenId: string): Promise<Swept | undefined> {
    const voided = await this.voidRows(processId, oldestOpenId);
    if (!this.connection.isReady) return undefined;
    const key = tenantsOfProcessKey(processId);
    let orphaned = 0;
    let finished = 0;
    for (const tenantId of await this.connection.client.smembers(key)) {
      const holds = await this.holdsOf(tenantId, processId);
      for (let at = 0; at < holds.length; at += BATCH) {
        const ended = await this.endHolds(tenantId, processId, holds.slice(at, at + BATCH));
        orphaned += ended.orphaned;
        finished += ended.finished;
      }
    }
    await this.projection.drain(5_000);
    await this.connection.client.del(key);
    return { voided, orphaned, finished };
  }

  private async voidRows(processId: string, oldestOpenId: string): Promise<number> {
    let voided = 0;
    let after = oldestOpenId;
    for (;;) {
      const { rows } = await this.pool.query<PendingRow>(
        `select id, tenant_id, credit_limit_nano_usd from billing_transaction
          where id >= $2 and process_id = $1 and status = 'PENDING' order by id limit ${BATCH}`,
        [processId, after],
      );
      const outcomes = await Promise.all(
        rows.map(async (row) => {
          const { outcome } = await this.writer.write({ ...row, ...voidFields(REASON), is_new: false });
          this.projection.release(row.tenant_id, row.id);
          return outcome;
        }),
      );
      voided += outcomes.filter((outcome) => outcome === 'voided').length;
      const last = rows.at(-1);
      if (!last || rows.length < BATCH) return voided;
      after = last.id;
    }
  }

  private async holdsOf(tenantId: string, processId: string): Promise<readonly (readonly [string, HoldEntry])[]> {
    const entries = await this.connection.client.hgetall(holdsKey(tenantId));
    return Object.entries(entries)
      .map(([holdId, text]) => [holdId, parseHoldEntry(text)] as const)
      .filter(([, entry]) => entry.processId === processId);
  }

  private async endHolds(
    tenantId: string,
    processId: string,
    holds: readonly (readonly [string, HoldEntry])[],
  ): Promise<{ orphaned: number; finished: number }> {
    const { rows } = await this.pool.query<{ id: string; status: string }>(
      `select id, status from billing_transaction where id = any ($1)`,
      [holds.map(([holdId]) => holdId)],
    );
    const statusOf = new Map(rows.map((row) => [row.id, row.status]));
    const orphans = holds.filter(([holdId]) => !statusOf.has(holdId));
    await Promise.all(
      orphans.map(([holdId, entry]) => this.writer.write(this.orphanRow(tenantId, processId, holdId, entry))),
    );
    const committed = holds.filter(([holdId]) => statusOf.get(holdId) === 'COMMITTED');
    if (committed.length > 0) await this.settle(tenantId, committed);
    for (const [holdId] of holds) {
      if (statusOf.get(holdId) !== 'COMMITTED') this.projection.release(tenantId, holdId);
    }
    return { orphaned: orphans.length, finished: committed.length };
  }

  private async settle(tenantId: string, holds: readonly (readonly [string, HoldEntry])[]): Promise<void> {
    const { rows } = await this.pool.query<{ posted_nano_usd: string; version: string }>(
      `select posted_nano_usd, version from ledger_account where tenant_id = $1 and name = 'wallet'`,
      [tenantId],
    );
    const [wallet] = rows;
    if (!wallet) return;
    const posted = { posted: nanoUsd(wallet.posted_nano_usd), version: BigInt(wallet.version) };
    for (const [holdId] of holds) this.projection.settle(tenantId, holdId, posted);
  }

  /** All that is known of a hold without a row; its trace id is lost, its own id stands in. */
  private orphanRow(tenantId: string, processId: string, holdId: string, entry: HoldEntry): EndRow {
    return {
      ...voidFields(REASON),
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
      day_window_start_ms: entry.dayStartMs,
      month_window_start_ms: entry.monthStartMs,
      is_new: true,
    };
  }
}
