import type { Refusal } from '../kernel/errors';
import type { NanoUsd } from '../kernel/money';
import type { CalendarWindow } from '../kernel/windows';
import type { CallerLimits, Service } from './scopes/caller-limits';
import type { CountedScope, Funding } from './scopes/scope';

/**
 * The quota authority: one atomic reservation over every scope of a tenant (money.md, Scopes). There are two: Redis, a
 * projection of the ledger, and Postgres, which decides from the ledger itself while Redis is down. Which of them decides
 * is one fact for all processes, the mode of the current epoch.
 */
export interface QuotaStore {
  /**
   * Reserves the hold in every scope, or refuses and changes nothing. Idempotent by hold id: a resend returns the first
   * answer. Throws QuotaUnavailableError where the store cannot be reached.
   */
  reserve(hold: HoldRequest): Promise<ReserveOutcome>;
  /** What reserve would answer now; changes nothing. */
  quote(hold: HoldRequest): Promise<ReserveOutcome>;
  /**
   * Raises an open hold to a larger amount under the limits it was admitted with, for a stream that outgrows it; all or
   * nothing. Twice is harmless: a hold that has the amount, or more, is left as it is. Throws QuotaUnavailableError.
   */
  extend(extension: HoldExtension): Promise<ExtendOutcome>;
  /**
   * Ends holds whose charge is committed: takes the entries away, corrects what they counted to what they cost, and
   * installs posted balance and version if newer. Twice or late is harmless, an unknown hold changes nothing.
   */
  settle(tenantId: string, ended: readonly EndedHold[], posted: PostedBalance): Promise<void>;
  /** Ends holds whose charge is voided: takes the entries away and gives back what they counted. */
  release(tenantId: string, holdIds: readonly string[]): Promise<void>;
}

export const QUOTA_STORE = Symbol('QuotaStore');

export interface HoldRequest {
  readonly holdId: string;
  readonly limits: CallerLimits;
  /** The most the call may cost. */
  readonly amount: NanoUsd;
  /** Input as estimated and output as reserved: what TPM counts until the settle says better. */
  readonly tokens: number;
  readonly service: Service;
  /** Kind of the provider that serves the call, such as `openai`. */
  readonly platform: string;
  /** What the PENDING row says of the call, for the store that writes it together with the reservation. */
  readonly pending: PendingRow;
  /** The hold's epoch was found to be over: the store reads anew which one is current before it reserves. */
  readonly isReadmission?: boolean;
}

/** What is frozen of a call besides its hold; columns of the PENDING row. Quota reads nothing of it. */
export interface PendingRow {
  readonly trace_id: string;
  readonly channel: string;
  readonly is_stream: boolean;
  readonly api_key_id: string;
  readonly api_key_name: string;
  readonly model: string;
  readonly price_version: string | null;
  readonly prices: unknown;
  readonly input_tokens_estimate: number;
}

export interface HoldExtension {
  readonly holdId: string;
  readonly limits: CallerLimits;
  /** The epoch the hold lives in. */
  readonly epoch: bigint;
  /** What the hold shall have afterwards. */
  readonly amount: NanoUsd;
  readonly service: Service;
  readonly platform: string;
}

/** 'gone': no such hold is open any more, or its epoch is over; it is not extended. */
export type ExtendOutcome =
  { readonly extended: true } | { readonly extended: false; readonly refusal: Refusal | 'gone' };

/** A hold whose charge is committed, with what it came to. */
export interface EndedHold {
  readonly holdId: string;
  readonly amount: NanoUsd;
  readonly tokens: number;
}

/** What the tenant has posted (wallet and promo together) after the version-th change of either. */
export interface PostedBalance {
  readonly posted: NanoUsd;
  readonly version: bigint;
}

export interface AdmittedHold {
  readonly holdId: string;
  readonly tenantId: string;
  /** The most the call may cost; only funding `wallet` holds it from the balance. */
  readonly amount: NanoUsd;
  readonly funding: Funding;
  /** The epoch the hold lives in; its PENDING row is inserted only while it is current. */
  readonly epoch: bigint;
  /** Its PENDING row stands already: reservation and row were one transaction. */
  readonly isDurable: boolean;
  readonly creditLimit: NanoUsd;
  /** posted + credit limit − held, before and after this hold. */
  readonly balanceBefore: NanoUsd;
  readonly balanceAfter: NanoUsd;
  /** The tenant's calendar day and month at admission, counted or not. */
  readonly dayWindow: CalendarWindow;
  readonly monthWindow: CalendarWindow;
  /** What it counts in each scope that has a limit. */
  readonly counted: readonly CountedScope[];
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
