import { setTimeout as pause } from 'node:timers/promises';
import { LedgerAwayError } from '../../platform/circuit/ledger-circuit';
import { BatchLane } from '../../platform/database/batch-lane';
import { isContention, isRefusedData } from '../../platform/database/sql-state';
import { QuotaUnavailableError } from '../quota-store.port';
import type { ReserveReply, ReserveRow } from './reserve-row';

export interface ReserveLaneOptions {
  /** One statement, one transaction, answers every row; safe to repeat. `isAside`: it may meet a lock that is known to be held. */
  readonly send: (rows: readonly ReserveRow[], isAside: boolean) => Promise<readonly ReserveReply[]>;
  /** How long a caller waits for its answer. */
  readonly patienceMs: number;
}

interface Item {
  readonly row: ReserveRow;
  readonly resolve: (reply: ReserveReply) => void;
  readonly reject: (error: unknown) => void;
  /** It left at least once: the row may stand although no answer came. */
  wasSent: boolean;
  /** It waits for a lock, which says nothing of Postgres. */
  isAside: boolean;
  /** Its caller has its answer, or has gone. */
  isOver: boolean;
}

/** How long an idle lane waits for company. */
const WINDOW_MS = 1;
const MAX_BATCH = 100;
const MAX_QUEUED = 2_000;
const RETRY_MS = 25;

/**
 * Group commit of reservations, each as long as its caller waits and no longer. What Postgres refuses is split off, a
 * tenant whose rows somebody has locked goes on in a lane of its own:
 *
 *   main lane ── a row is locked ──► one side lane for each tenant of that batch ── nobody waits in it ──► main lane again
 *
 * An answer that comes when its caller has gone is dropped: the caller was told that the hold may stand, and releases it.
 */
export class ReserveLane {
  private readonly main: BatchLane<Item>;
  private readonly sides = new Map<string, Item[]>();
  private waiting = 0;

  constructor(private readonly options: ReserveLaneOptions) {
    this.main = new BatchLane<Item>({
      windowMs: WINDOW_MS,
      maxBatch: MAX_BATCH,
      write: (batch) => this.ask(batch, false),
    });
  }

  /** Rejects with QuotaUnavailableError where there is no room, or no answer in time. */
  reserve(row: ReserveRow): Promise<ReserveReply> {
    if (this.waiting >= MAX_QUEUED) {
      return Promise.reject(new QuotaUnavailableError('too many reservations wait for Postgres'));
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        end();
        const cause = item.isAside ? undefined : new LedgerAwayError('Postgres did not answer');
        const mayHold = item.wasSent && !row.is_dry;
        reject(new QuotaUnavailableError('the reservation was not answered in time', { mayHold, cause }));
      }, this.options.patienceMs);
      const end = (): void => {
        clearTimeout(timer);
        item.isOver = true;
        this.waiting -= 1;
      };
      const item: Item = {
        row,
        wasSent: false,
        isAside: false,
        isOver: false,
        resolve: (reply) => {
          end();
          resolve(reply);
        },
        reject: (error) => {
          end();
          reject(error instanceof Error ? error : new Error(String(error)));
        },
      };
      this.waiting += 1;
      const side = this.sides.get(row.tenant_id);
      item.isAside = side !== undefined;
      if (side) side.push(item);
      else this.main.push(item);
    });
  }

  /** Settles every item, or hands it to a side lane. */
  private async ask(batch: readonly Item[], isAside: boolean): Promise<void> {
    for (;;) {
      const items = batch.filter((item) => !item.isOver);
      if (items.length === 0) return;
      try {
        await this.send(items, isAside);
        return;
      } catch (error) {
        if (isRefusedData(error)) {
          await this.split(items, isAside, error);
          return;
        }
        if (isContention(error) && !isAside) {
          this.putAside(items);
          return;
        }
      }
      await pause(RETRY_MS);
    }
  }

  private async send(items: readonly Item[], isAside: boolean): Promise<void> {
    for (const item of items) item.wasSent = true;
    const replies = await this.options.send(
      items.map(({ row }) => row),
      isAside,
    );
    const replyOf = new Map(replies.map((reply) => [reply.id, reply]));
    for (const item of items) {
      if (item.isOver) continue;
      const reply = replyOf.get(item.row.id);
      if (reply) item.resolve(reply);
      else item.reject(new Error(`quota_reserve did not answer for hold ${item.row.id}`));
    }
  }

  /** Nothing of the batch stands: each is asked alone, so that only the bad one is refused. */
  private async split(items: readonly Item[], isAside: boolean, error: unknown): Promise<void> {
    const [first] = items;
    if (items.length === 1) {
      if (first?.isOver === false) first.reject(error);
      return;
    }
    for (const item of items) await this.ask([item], isAside);
  }

  private putAside(items: readonly Item[]): void {
    for (const item of items) item.isAside = true;
    for (const [tenantId, ofTenant] of Map.groupBy(items, ({ row }) => row.tenant_id)) {
      const queued = this.main.take(({ row }) => row.tenant_id === tenantId);
      const standing = this.sides.get(tenantId);
      if (standing) standing.unshift(...ofTenant, ...queued);
      else void this.askAside(tenantId, [...ofTenant, ...queued]);
    }
  }

  private async askAside(tenantId: string, queue: Item[]): Promise<void> {
    this.sides.set(tenantId, queue);
    while (queue.length > 0) await this.ask(queue.splice(0, MAX_BATCH), true);
    this.sides.delete(tenantId);
  }
}
