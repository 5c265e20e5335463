import { Logger } from '@nestjs/common';
import { CircuitOpenError } from '../platform/circuit/circuit';
import { Metrics } from '../platform/metrics/metrics';
import type { QuotaMode } from './authority-row';
import { EpochAuthority } from './epoch-authority';
import { NotTheAuthorityError } from './not-the-authority.error';
import { PostgresQuotaStore } from './postgres-quota.store';
import {
  type EndedHold,
  type ExtendOutcome,
  type HoldExtension,
  type HoldRequest,
  type PostedBalance,
  QuotaUnavailableError,
  type QuotaStore,
  type ReserveOutcome,
} from './quota-store.port';
import { RatesInProcess } from './rates-in-process';
import { RedisAwayError } from './redis/redis-away.error';
import { RedisCircuit } from './redis/redis-circuit';
import { ScopePlans } from './scopes/scope-plans';

/** Changes of the decider that one call may meet before it is given up. */
const MAX_SWITCHES = 3;

/**
 * Asks whoever decides in the epoch that this process knows, and follows where that has changed. Where Redis keeps failing
 * it lets Postgres decide, for every process; the call that finds it out is already answered by Postgres.
 *
 *   redis ── the circuit opens in any process, or one has no Redis ──► postgres
 *   postgres ── every living process has seen the same Redis server for QUOTA_HAND_BACK_MS ──► redis
 */
export class SwitchingQuotaStore implements QuotaStore {
  private readonly logger = new Logger(SwitchingQuotaStore.name);
  /** Holds that Postgres admitted, or may have: their rows are ended there whoever decides by then. */
  private readonly inPostgres = new Set<string>();
  /** The epoch in which it was said that rolling limits are each process' own. */
  private saidIn: bigint | undefined;

  constructor(
    private readonly redis: QuotaStore,
    private readonly postgres: PostgresQuotaStore,
    private readonly epochs: EpochAuthority,
    private readonly circuit: RedisCircuit,
    private readonly rates: RatesInProcess,
    private readonly plans: ScopePlans,
    private readonly metrics: Metrics,
  ) {}

  async reserve(hold: HoldRequest): Promise<ReserveOutcome> {
    if (hold.isReadmission) await this.refresh();
    return this.whereDecided(
      () => this.redis.reserve(hold),
      () => this.reserveInPostgres(hold),
    );
  }

  quote(hold: HoldRequest): Promise<ReserveOutcome> {
    return this.whereDecided(
      () => this.redis.quote(hold),
      () => this.postgres.quote(hold, this.rates),
    );
  }

  extend(extension: HoldExtension): Promise<ExtendOutcome> {
    return this.whereDecided(
      () => this.redis.extend(extension),
      () => this.postgres.extend(extension),
    );
  }

  async settle(tenantId: string, ended: readonly EndedHold[], posted: PostedBalance): Promise<void> {
    if ((await this.mode()) === 'redis') await this.redis.settle(tenantId, ended, posted);
    else this.taken();
    this.rates.settle(ended);
    for (const { holdId } of ended) this.inPostgres.delete(holdId);
  }

  async release(tenantId: string, holdIds: readonly string[]): Promise<void> {
    const mode = await this.mode();
    const here = mode === 'postgres' ? holdIds : holdIds.filter((holdId) => this.inPostgres.has(holdId));
    if (here.length > 0) await this.postgres.release(tenantId, here);
    if (mode === 'redis') await this.redis.release(tenantId, holdIds);
    else this.taken();
    this.rates.giveBack(holdIds);
    for (const holdId of holdIds) this.inPostgres.delete(holdId);
  }

  private async whereDecided<T>(askRedis: () => Promise<T>, askPostgres: () => Promise<T>): Promise<T> {
    for (let round = 0; round < MAX_SWITCHES; round += 1) {
      if ((await this.mode()) === 'redis') {
        const answer = await this.inRedis(askRedis);
        if (answer !== undefined) return answer;
        continue;
      }
      try {
        return await askPostgres();
      } catch (error) {
        if (!(error instanceof NotTheAuthorityError)) throw error;
      }
      await this.refresh();
    }
    throw new QuotaUnavailableError('who decides over quota keeps changing');
  }

  /** Undefined where Redis is not to be had and Postgres decides now. */
  private async inRedis<T>(ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await this.circuit.run(ask);
    } catch (error) {
      const isOpen = error instanceof CircuitOpenError;
      if (!isOpen && !(error instanceof RedisAwayError)) throw error;
      if (this.circuit.isOpen && (await this.circuit.proposePostgres())) return undefined;
      throw isOpen ? new QuotaUnavailableError(error.message) : error;
    }
  }

  private async reserveInPostgres(hold: HoldRequest): Promise<ReserveOutcome> {
    if (this.plans.of(hold).some(({ window }) => window.kind === 'rolling')) this.countInProcess();
    const isNew = !this.inPostgres.has(hold.holdId);
    this.inPostgres.add(hold.holdId);
    let stands = false;
    try {
      const outcome = await this.postgres.reserve(hold, this.rates);
      stands = outcome.admitted;
      return outcome;
    } catch (error) {
      stands = error instanceof QuotaUnavailableError && error.mayHold;
      throw error;
    } finally {
      if (!stands && isNew) this.inPostgres.delete(hold.holdId);
    }
  }

  /** Who decides, read where that is not known. */
  private async mode(): Promise<QuotaMode> {
    await this.epochs.behind?.catch(unread);
    if (this.epochs.mode === undefined) await this.refresh();
    const { mode } = this.epochs;
    if (mode === undefined) throw new QuotaUnavailableError('the epoch has just changed');
    return mode;
  }

  private refresh(): Promise<unknown> {
    return this.epochs.refresh().catch(unread);
  }

  private taken(): void {
    if (!this.epochs.recordInLedger()) throw new QuotaUnavailableError('Postgres does not decide any more');
  }

  private countInProcess(): void {
    this.metrics.ratesInProcess.inc();
    const { postgresEpoch } = this.epochs;
    if (this.saidIn === postgresEpoch) return;
    this.saidIn = postgresEpoch;
    this.logger.warn('limits of requests and tokens a minute hold for each process alone until Redis decides again');
  }
}

function unread(cause: unknown): never {
  throw new QuotaUnavailableError('the epoch could not be read', { cause });
}
