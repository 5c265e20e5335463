import type { FrozenPrice, TokenCounts } from '../catalogue/price';
import type { NanoUsd } from '../kernel/money';
import type { AdmittedHold, PendingRow } from '../quota/quota-store.port';

/**
 * A charge: PENDING while its hold is open, then COMMITTED or VOIDED, once.
 *
 *   (reserved) ─► PENDING ─► COMMITTED      settle: the full amount moves funding → revenue
 *        │           └─────► VOIDED         every attempt failed
 *        │     of a dead process: either, by the sweeper, as its last checkpoint or the policy says
 *        └─► COMMITTED | VOIDED             ended before its PENDING row was flushed: one row replaces both
 *
 * Ended charges never change; a mistake is corrected by a new, linked transaction.
 */
export type ChargeStatus = 'PENDING' | 'COMMITTED' | 'VOIDED';

export type Channel = 'external' | 'internal';

/** How tokens were counted, by precedence. */
export type CountingMethod = 'usage' | 'tokenizer' | 'estimated';

/** Everything decided at the reserve; settle, release, sweeper and rebuild look nothing up. */
export interface FrozenCharge {
  readonly hold: AdmittedHold;
  /** Whose call it is, and for what. */
  readonly pending: PendingRow;
  readonly price: FrozenPrice;
}

/** Who served it; names are copied, so that history survives the deletion of the upstream. */
export interface ServedBy {
  readonly upstreamId: string;
  readonly upstreamName: string;
  readonly providerName: string;
}

/**
 * What an attempt cost the house that no tenant pays: it failed and yet reported usage, or its answer was not charged. An
 * answer that turns out to be charged after all costs what its row says, so it is marked.
 */
export interface HouseCost {
  readonly upstreamId: string;
  readonly amount: NanoUsd;
  readonly isServed: boolean;
}

/** What an open stream has delivered so far. */
export interface Delivered {
  readonly tokens: TokenCounts;
  readonly method: CountingMethod;
  readonly servedBy: ServedBy;
  /** Of these tokens, at the upstream's own cost price as it was when the attempt started. */
  readonly upstreamCost: NanoUsd;
  /** Of the attempts before. */
  readonly houseCosts?: readonly HouseCost[];
}

export interface Settlement {
  readonly tokens: TokenCounts;
  readonly method: CountingMethod;
  /** Why the answer ended, such as `complete` or `client_left`. */
  readonly endReason: string;
  /** What made it end before its end, such as the limit that its guard met. */
  readonly reasonCode?: string | undefined;
  readonly servedBy: ServedBy;
  /** Of what the upstream used, at its own cost price as it was when the attempt started. */
  readonly upstreamCost: NanoUsd;
  /** Of attempts that failed. */
  readonly houseCosts?: readonly HouseCost[];
}

export interface VoidReason {
  /** Stable code such as `UPSTREAM_ERROR`. */
  readonly reasonCode: string;
  readonly endReason: string;
  readonly servedBy?: ServedBy | undefined;
  readonly houseCosts?: readonly HouseCost[];
}

export interface SettledCharge {
  readonly transactionId: string;
  readonly amount: NanoUsd;
  /** The wallet's posted balance after the batch that carried this charge. */
  readonly posted: NanoUsd;
}
