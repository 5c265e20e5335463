import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { Pool } from 'pg';
import { CLOCK, type Clock } from '../kernel/clock';
import { CircuitOpenError } from '../platform/circuit/circuit';
import { LedgerCircuit } from '../platform/circuit/ledger-circuit';
import { Settings } from '../platform/config/settings';
import { DATABASE_ACCESS, type DatabaseAccess } from '../platform/database/pg-connection';
import { createPgPool } from '../platform/database/pg-pool';
import { ProcessIdentity } from '../platform/process/process-identity';
import { EpochAuthority } from './epoch-authority';
import { NotTheAuthorityError } from './not-the-authority.error';
import { FirstCounts, requestQuotasOf } from './postgres/first-counts';
import { admittedHold, type RefusedReply, refusalOf } from './postgres/reserve-answer';
import { MAX_IN_LINE } from './postgres/locked-tenants';
import { ReserveLane } from './postgres/reserve-lane';
import { type LockedReply, type ReserveReply, type ReserveRow, reserveRow } from './postgres/reserve-row';
import {
  type ExtendOutcome,
  type HoldExtension,
  type HoldRequest,
  QuotaUnavailableError,
  type QuotaStore,
  type ReserveOutcome,
} from './quota-store.port';
import type { RatesInProcess } from './rates-in-process';
import type { ScopeSpec } from './scopes/scope';
import { ScopePlans } from './scopes/scope-plans';
import { subscriptionRefusal } from './scopes/scope-refusal';

/** Rounds of epoch change or clock correction one reservation may need before it is given up. */
const MAX_ROUNDS = 4;
/** One for the batches, and one by which locked tenants are asked again. */
const CONNECTIONS = 2;
/** Of extensions, of releases and of first counts, each: none waits for reservations, nor for the others. */
const OWN_CONNECTIONS = 2;
/** Who meets a lock that lasts longer makes room for others. */
const LOCK_MS = 250;
const STATEMENT_MS = 2_000;
/** The calls of a month are read once for each tenant that gets its first request quota; nobody's row waits for it. */
const FIRST_COUNT_MS = 30_000;

type ExtendReply = RefusedReply & { readonly status: 'EXTENDED' | 'REFUSED' | 'GONE' | 'FENCED' };

/** One reservation, or the question what would become of it. */
interface Asking {
  readonly request: HoldRequest;
  /** Its scopes, with rolling ones where `rates` keeps them. */
  readonly plan: readonly ScopeSpec[];
  readonly rates: RatesInProcess | undefined;
  readonly isDry: boolean;
}

/**
 * The quota authority while there is no Redis: quota_reserve decides from the ledger and writes the PENDING row in the
 * same transaction, so that a hold is durable when it is answered and its ending has nobody to be told to.
 */
@Injectable()
export class PostgresQuotaStore implements QuotaStore, OnApplicationShutdown {
  private readonly pools: Readonly<Record<'main' | 'inLine' | 'extend' | 'release' | 'firstCounts', Pool>>;
  private readonly lane: ReserveLane;
  private readonly firstCounts: FirstCounts;
  private readonly patienceMs: number;
  private readonly plansWithoutRates = new WeakMap<readonly ScopeSpec[], readonly ScopeSpec[]>();

  constructor(
    @Inject(DATABASE_ACCESS) access: DatabaseAccess,
    private readonly epochs: EpochAuthority,
    private readonly process: ProcessIdentity,
    private readonly plans: ScopePlans,
    private readonly circuit: LedgerCircuit,
    settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {
    const limits = { applicationName: 'tollgate-quota', statementMs: STATEMENT_MS, lockMs: LOCK_MS };
    this.pools = {
      main: createPgPool(access, CONNECTIONS, limits),
      inLine: createPgPool(access, MAX_IN_LINE, limits),
      extend: createPgPool(access, OWN_CONNECTIONS, limits),
      release: createPgPool(access, OWN_CONNECTIONS, limits),
      firstCounts: createPgPool(access, OWN_CONNECTIONS, {
        ...limits,
        statementMs: FIRST_COUNT_MS,
        lockMs: FIRST_COUNT_MS,
      }),
    };
    this.patienceMs = settings.billingWaitMs;
    this.firstCounts = new FirstCounts(this.pools.firstCounts);
    this.lane = new ReserveLane({
      send: (rows, waits) => this.send(rows, waits),
    });
  }

  /** @param rates who keeps rolling scopes (RPM, TPM); without, they limit nothing */
  reserve(request: HoldRequest, rates?: RatesInProcess): Promise<ReserveOutcome> {
    return this.ask(this.asking(request, rates, false));
  }

  quote(request: HoldRequest, rates?: RatesInProcess): Promise<ReserveOutcome> {
    return this.ask(this.asking(request, rates, true));
  }

  async extend(extension: HoldExtension): Promise<ExtendOutcome> {
    const { limits, holdId, amount } = extension;
    const limited = this.plans.of(extension).filter(({ measure }) => measure === 'usd');
    const [reply] = await this.query<ExtendReply>('extend', `select * from quota_extend($1)`, {
      id: holdId,
      tenant_id: limits.tenantId,
      epoch: this.epoch().toString(),
      hold_nano_usd: amount.toString(),
      credit_limit_nano_usd: limits.creditLimit.toString(),
      limits: limited.map((spec) => [spec.counter, spec.limit.toString()]),
    });
    switch (reply?.status) {
      case 'EXTENDED':
        return { extended: true };
      case 'REFUSED':
        return { extended: false, refusal: refusalOf(amount, limited, reply) };
      case 'GONE':
        return { extended: false, refusal: 'gone' };
      case 'FENCED':
        throw new NotTheAuthorityError();
      case undefined:
        throw new Error('quota_extend answered nothing');
    }
  }

  /** The ledger, which decides, has it already. */
  settle(): Promise<void> {
    return Promise.resolve();
  }

  /**
   * An ended charge has left nothing to be given back: most are, and looking takes no lock. A hold that nobody uses is
   * voided here, whether its row stands or is still on its way.
   */
  async release(tenantId: string, holdIds: readonly string[]): Promise<void> {
    const abandoned = { tenant_id: tenantId, process_id: this.process.id, ids: holdIds };
    await this.query(
      'release',
      `select quota_abandon($1)
        where (select count(*) from billing_transaction where id = any ($2::uuid[]) and status <> 'PENDING')
              < cardinality($2::uuid[])`,
      abandoned,
      [holdIds],
    );
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all(Object.values(this.pools).map((pool) => pool.end()));
  }

  private async ask(asking: Asking): Promise<ReserveOutcome> {
    const { request, plan } = asking;
    const untilMs = this.clock.monotonicMs() + this.patienceMs;
    let nowMs = this.clock.nowMs();
    const invalid = subscriptionRefusal(request.limits, nowMs);
    if (invalid) return { admitted: false, refusal: invalid };
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const patienceMs = untilMs - this.clock.monotonicMs();
      if (patienceMs <= 0) break;
      const answer = await this.answer(asking, { epoch: this.epoch(), nowMs, patienceMs });
      if (!('status' in answer)) return answer;
      switch (answer.status) {
        case 'CLOCK':
          nowMs = Number(answer.now_ms);
          break;
        case 'UNOPENED':
          await this.firstCounts.open(
            request.limits,
            requestQuotasOf(plan.map(({ counter }) => counter)),
            Number(answer.now_ms),
            untilMs - this.clock.monotonicMs(),
          );
          break;
        case 'FENCED':
          await this.refresh();
          break;
        case 'DEAD':
          throw new QuotaUnavailableError('this process was declared dead');
        case 'ENDED':
          throw new QuotaUnavailableError('the hold has ended already');
        case 'ADMITTED':
        case 'REFUSED':
          throw new Error(`${answer.status} is an outcome`);
      }
    }
    throw new QuotaUnavailableError('the reservation was not settled in time');
  }

  /** The outcome, or why there is none yet; at once where Postgres keeps not answering. */
  private async answer(
    asking: Asking,
    { epoch, nowMs, patienceMs }: { readonly epoch: bigint; readonly nowMs: number; readonly patienceMs: number },
  ): Promise<ReserveOutcome | ReserveReply> {
    const { request, plan, rates, isDry } = asking;
    const attempt = { epoch, processId: this.process.id, nowMs, offsetMs: this.clock.offsetMs, isDry };
    const reservation = {
      holdId: request.holdId,
      tenantId: request.limits.tenantId,
      isDry,
      patienceMs,
      row: () => reserveRow(request, plan, this.plans, attempt, rates),
      answered: (reply: ReserveReply) => this.outcomeOf(asking, epoch, reply) ?? reply,
    };
    try {
      return await this.circuit.run(() => this.lane.reserve(reservation));
    } catch (error) {
      throw error instanceof CircuitOpenError ? new QuotaUnavailableError(error.message) : error;
    }
  }

  /** Counts an admitted call in its minute. */
  private outcomeOf(
    { request, plan, rates, isDry }: Asking,
    epoch: bigint,
    reply: ReserveReply,
  ): ReserveOutcome | undefined {
    switch (reply.status) {
      case 'ADMITTED': {
        const hold = admittedHold(request, epoch, reply, this.plans.windows);
        const rolling = (isDry ? rates?.quote(request, plan) : rates?.take(request, plan)) ?? [];
        return { admitted: true, hold: { ...hold, counted: [...hold.counted, ...rolling] } };
      }
      case 'REFUSED': {
        const spec = plan[(reply.place ?? 0) - 1];
        const resets_ms = spec?.window.kind === 'rolling' ? (rates?.fitsAtMs(request, spec) ?? '') : reply.resets_ms;
        return { admitted: false, refusal: refusalOf(request.amount, plan, { ...reply, resets_ms }) };
      }
      case 'CLOCK':
      case 'UNOPENED':
      case 'FENCED':
      case 'DEAD':
      case 'ENDED':
        return undefined;
    }
  }

  /** The epoch in which Postgres decides, as far as this process knows. */
  private epoch(): bigint {
    const { postgresEpoch } = this.epochs;
    if (postgresEpoch === undefined) throw new NotTheAuthorityError();
    return postgresEpoch;
  }

  private refresh(): Promise<unknown> {
    return this.epochs.refresh().catch((error: unknown) => {
      throw new QuotaUnavailableError('the epoch could not be read', { cause: error });
    });
  }

  /** The minute has counted a call when it was admitted first: those counters know no epoch. */
  private asking(request: HoldRequest, rates: RatesInProcess | undefined, isDry: boolean): Asking {
    const whole = this.plans.of(request);
    if (rates && !request.isReadmission) return { request, plan: whole, rates, isDry };
    return { request, plan: this.withoutRates(whole), rates: undefined, isDry };
  }

  private withoutRates(whole: readonly ScopeSpec[]): readonly ScopeSpec[] {
    let plan = this.plansWithoutRates.get(whole);
    if (!plan) {
      plan = whole.filter(({ window }) => window.kind !== 'rolling');
      this.plansWithoutRates.set(whole, plan);
    }
    return plan;
  }

  private async send(rows: readonly ReserveRow[], waits: boolean): Promise<readonly (ReserveReply | LockedReply)[]> {
    const { rows: replies } = await this.pools[waits ? 'inLine' : 'main'].query<ReserveReply | LockedReply>({
      name: 'quota_reserve',
      text: 'select * from quota_reserve($1::json, $2)',
      values: [JSON.stringify(rows), waits],
    });
    return replies;
  }

  private async query<R extends object>(
    pool: 'extend' | 'release',
    text: string,
    row: object,
    more: readonly unknown[] = [],
  ): Promise<R[]> {
    try {
      return (await this.pools[pool].query<R>(text, [JSON.stringify(row), ...more])).rows;
    } catch (error) {
      throw new QuotaUnavailableError('Postgres did not answer', { cause: error, mayHold: true });
    }
  }
}
