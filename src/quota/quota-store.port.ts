import type { NanoUsd } from '../kernel/money';
import type { Refusal } from '../kernel/errors';
import type { CalendarWindow } from '../kernel/windows';

/**
 * The quota authority: one atomic reservation over every scope of a tenant (money.md, Scopes). Redis implements it as a
 * projection of the ledger; a Postgres implementation stands beside it when Redis is down.
 */
export interface QuotaStore {
  /**
   * Reserves the hold in every scope, or refuses and changes nothing. Idempotent by hold id: a resend returns the first
   * answer. Throws QuotaUnavailableError where the store cannot be reached.
   */
  reserve(hold: HoldRequest): Promise<ReserveOutcome>;
  /**
   * Ends holds whose charge is committed: takes the entry away and installs posted balance and version if newer. Twice
   * or late is harmless, an unknown hold changes nothing.
   */
  settle(tenantId: string, holdIds: readonly string[], posted: PostedBalance): Promise<void>;
  /** Ends holds whose charge is voided: takes the entries away and gives counted requests back to their windows. */
  release(tenantId: string, holdIds: readonly string[]): Promise<void>;
}

export const QUOTA_STORE = Symbol('QuotaStore');

/** The limits and zone a reservation is checked against, from the caller's cached tenant; frozen into the hold. */
export interface TenantLimits {
  readonly tenantId: string;
  readonly timezone: string;
  readonly creditLimit: NanoUsd;
  /** Requests a calendar day / month in the tenant's zone; null is unlimited. */
  readonly dailyQuota: number | null;
  readonly monthlyQuota: number | null;
}

export interface HoldRequest {
  readonly holdId: string;
  readonly limits: TenantLimits;
  readonly amount: NanoUsd;
  /** The hold's epoch was found to be over: the store reads anew which one is current before it reserves. */
  readonly isReadmission?: boolean;
}

/** Posted balance of the tenant's wallet after the version-th change. */
export interface PostedBalance {
  readonly posted: NanoUsd;
  readonly version: bigint;
}

export interface AdmittedHold {
  readonly holdId: string;
  readonly tenantId: string;
  readonly amount: NanoUsd;
  /** The epoch the hold lives in; its PENDING row is inserted only while it is current. */
  readonly epoch: bigint;
  readonly creditLimit: NanoUsd;
  /** posted + credit limit − held, before and after this hold. */
  readonly balanceBefore: NanoUsd;
  readonly balanceAfter: NanoUsd;
  readonly dayWindow: CalendarWindow;
  readonly monthWindow: CalendarWindow;
  /** Requests of the tenant counted in the window, this one included. */
  readonly usedToday: number;
  readonly usedThisMonth: number;
}

export type ReserveOutcome =
  { readonly admitted: true; readonly hold: AdmittedHold } | { readonly admitted: false; readonly refusal: Refusal };

/** The store cannot be reached or did not answer in time; resending is safe. */
export class QuotaUnavailableError extends Error {
  override readonly name = 'QuotaUnavailableError';
  /** The reservation was sent and may have been made: its hold must be released. Else nothing has changed. */
  readonly mayHold: boolean;

  constructor(
    message: string,
    { mayHold = false, cause }: { readonly mayHold?: boolean; readonly cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.mayHold = mayHold;
  }
}
