import { setTimeout as pause } from 'node:timers/promises';
import { LedgerAwayError } from '../../platform/circuit/ledger-circuit';
import { BatchLane } from '../../platform/database/batch-lane';
import { isContention, isRefusedData } from '../../platform/database/sql-state';
import { QuotaUnavailableError } from '../quota-store.port';
import { LockedTenants } from './locked-tenants';
import type { LockedReply, ReserveReply, ReserveRow } from './reserve-row';

export interface ReserveLaneOptions {
  /**
   * One statement, one transaction, answers every row; safe to repeat. Where it `waits`, for the locks of the one tenant
   * it is for, none is LOCKED.
   */
  readonly send: (rows: readonly ReserveRow[], waits: boolean) => Promise<readonly (ReserveReply | LockedReply)[]>;
}

/** One row on its way. */
export interface Reservation<T> {
  readonly holdId: string;
  readonly tenantId: string;
  readonly isDry: boolean;
  /** How long its caller waits for the answer. */
  readonly patienceMs: number;
  /** Made whenever the row leaves, so that it says what has been counted by then. */
  readonly row: () => ReserveRow;
  /** Called while no other statement with rows of the tenant is under way: what it counts, the next row says. */
  readonly answered: (reply: ReserveReply) => T;
}

interface Item {
  readonly holdId: string;
  readonly tenantId: string;
  readonly row: () => ReserveRow;
  readonly resolve: (reply: ReserveReply) => void;
  readonly reject: (error: unknown) => void;
  /** It left at least once and no answer said that nothing came of it. */
  mayStand: boolean;
  /** It waits for a lock, which says nothing of Postgres. */
  isAside: boolean;
  /** Its caller has its answer, or has gone. */
  isOver: boolean;
}

/** How long an idle lane waits for company. */
const WINDOW_MS = 1;
const MAX_BATCH = 100;
const MAX_QUEUED = 2_000;
/** Callers of locked tenants leave room for the others. */
const MAX_ASIDE = 1_000;
const RETRY_MS = 25;

/**
 * Group commit of reservations, each as long as its caller waits and no longer. A batch waits for nobody's locks: those
 * whose tenants are locked leave it (locked-tenants.ts), the others are served in the same statement. What Postgres
 * refuses is split off.
 *
 * At most one statement at a time has rows of a tenant. An answer that comes when its caller has gone is dropped: the
 * caller was told that the hold may stand, and releases it.
 */
export class ReserveLane {
  private readonly main: BatchLane<Item>;
  private readonly aside: LockedTenants<Item>;
  private waiting = 0;

  constructor(private readonly options: ReserveLaneOptions) {
    this.main = new BatchLane<Item>({
      windowMs: WINDOW_MS,
      maxBatch: MAX_BATCH,
      write: (batch) => this.askMain(batch),
    });
    this.aside = new LockedTenants<Item>({
      maxBatch: MAX_BATCH,
      ask: (items, waits) => this.ask(items, waits),
      free: (items) => {
        this.pushAll(items);
      },
    });
  }

  /** Rejects with QuotaUnavailableError where there is no room, or no answer in time. */
  reserve<T>({ holdId, tenantId, isDry, patienceMs, row, answered }: Reservation<T>): Promise<T> {
    const isAside = this.aside.has(tenantId);
    if (this.waiting >= MAX_QUEUED || (isAside && this.aside.size >= MAX_ASIDE)) {
      return Promise.reject(new QuotaUnavailableError('too many reservations wait for Postgres'));
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const cause = item.isAside ? undefined : new LedgerAwayError('Postgres did not answer');
        const mayHold = item.mayStand && !isDry;
        item.reject(new QuotaUnavailableError('the reservation was not answered in time', { mayHold, cause }));
      }, patienceMs);
      const end = (): void => {
        clearTimeout(timer);
        item.isOver = true;
        this.waiting -= 1;
      };
      const item: Item = {
        holdId,
        tenantId,
        row,
        mayStand: false,
        isAside,
        isOver: false,
        resolve: (reply) => {
          end();
          try {
            resolve(answered(reply));
          } catch (error) {
            reject(asError(error));
          }
        },
        reject: (error) => {
          end();
          reject(asError(error));
        },
      };
      this.waiting += 1;
      if (isAside) this.aside.add(item);
      else this.main.push(item);
    });
  }

  private async askMain(batch: readonly Item[]): Promise<void> {
    const locked = await this.ask(batch, false);
    for (const [tenantId, ofTenant] of Map.groupBy(locked, (item) => item.tenantId)) {
      const items = [...ofTenant, ...this.main.take((item) => item.tenantId === tenantId)];
      for (const item of items) item.isAside = true;
      this.aside.put(tenantId, items);
    }
  }

  /** Nobody has their tenant locked any more, as far as is known. */
  private pushAll(items: readonly Item[]): void {
    for (const item of items) {
      if (item.isOver) continue;
      item.isAside = false;
      this.main.push(item);
    }
  }

  /** Settles the items, but for those that wait for a lock: these it answers. */
  private async ask(items: readonly Item[], waits: boolean): Promise<readonly Item[]> {
    for (;;) {
      const asked = items.filter((item) => !item.isOver);
      if (asked.length === 0) return [];
      const unsure = new Set(asked.filter((item) => item.mayStand));
      try {
        return await this.send(asked, waits, unsure);
      } catch (error) {
        if (isRefusedData(error)) {
          settleDoubt(asked, unsure);
          return await this.split(asked, waits, error);
        }
        if (isContention(error)) {
          settleDoubt(asked, unsure);
          return await this.askEachTenant(asked, waits);
        }
      }
      await pause(RETRY_MS);
    }
  }

  private async send(asked: readonly Item[], waits: boolean, unsure: ReadonlySet<Item>): Promise<readonly Item[]> {
    for (const item of asked) item.mayStand = true;
    const replies = await this.options.send(
      asked.map((item) => item.row()),
      waits,
    );
    const replyOf = new Map(replies.map((reply) => [reply.id, reply]));
    const locked: Item[] = [];
    for (const item of asked) {
      const reply = replyOf.get(item.holdId);
      if (reply?.status === 'LOCKED') locked.push(item);
      else if (item.isOver) continue;
      else if (reply) item.resolve(reply);
      else item.reject(new Error(`quota_reserve did not answer for hold ${item.holdId}`));
    }
    settleDoubt(locked, unsure);
    return locked;
  }

  /** Nothing of the batch stands: each is asked alone, so that only the bad one is refused. */
  private async split(items: readonly Item[], waits: boolean, error: unknown): Promise<readonly Item[]> {
    const [first] = items;
    if (items.length === 1) {
      if (first?.isOver === false) first.reject(error);
      return [];
    }
    const locked: Item[] = [];
    for (const item of items) locked.push(...(await this.ask([item], waits)));
    return locked;
  }

  /** Nothing of the batch stands, because of a lock that no row is passed by for: whose it is shows where each is alone. */
  private async askEachTenant(items: readonly Item[], waits: boolean): Promise<readonly Item[]> {
    const tenants = Map.groupBy(items, (item) => item.tenantId);
    if (tenants.size === 1) return items;
    const locked: Item[] = [];
    for (const ofTenant of tenants.values()) locked.push(...(await this.ask(ofTenant, waits)));
    return locked;
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** What was sent last has not been done: only what was unsure before still is. */
function settleDoubt(items: readonly Item[], unsure: ReadonlySet<Item>): void {
  for (const item of items) item.mayStand = unsure.has(item);
}
