import { Inject, Injectable } from '@nestjs/common';
import { refuse, type Refusal } from '../kernel/errors';
import { type NanoUsd, nanoUsd, subtractNanoUsd, toDecimalUsd } from '../kernel/money';
import type { CalendarWindow } from '../kernel/windows';
import { CLOCK, type Clock } from '../kernel/clock';
import { ProcessIdentity } from '../platform/process/process-identity';
import { BEGINS_WITHIN_MS, RedisConnection, type RedisServer } from '../platform/redis/redis-connection';
import { ScriptRegistry, type ScriptReply } from '../platform/redis/script-registry';
import { EpochAuthority } from './epoch-authority';
import { holdsKey, quotaKey, tenantsOfProcessKey } from './quota-keys';
import { type HoldRequest, type PostedBalance, QuotaUnavailableError, type QuotaStore, type ReserveOutcome } from './quota-store.port';
import type { CallerLimits } from './scopes/caller-limits';
import { TenantWindows, type WindowPair } from './tenant-windows';
import { UntoldEndings } from './untold-endings';
import { TenantWarmUp } from './warm-up/tenant-warm-up';

/** Rounds of rebuild, epoch change or clock correction one reservation may need before it is given up. */
const MAX_ROUNDS = 6;

/** How long the server's clock is believed to go with ours. */
const CLOCK_KNOWN_MS = 60_000;

interface ServerClock {
  readonly of: RedisServer | undefined;
  readonly aheadMs: number;
  readonly learnedAtMs: number;
}

const SCRIPTS = ['quota_deduct', 'quota_settle', 'quota_release', 'quota_install', 'quota_activate'] as const;

/** The quota authority while Redis is up: every reservation is one call of quota_deduct.lua. */
@Injectable()
export class RedisQuotaStore implements QuotaStore {
  private readonly windows = new TenantWindows();
  /** Tenants this process has announced in its set, in the epoch they were announced in. */
  private announced = { epoch: 0n, tenants: new Set<string>() };
  /** How far the clock of the connected server is ahead of our monotonic one; undefined until it has answered LATE. */
  private serverClock: ServerClock | undefined;

  constructor(
    private readonly connection: RedisConnection,
    private readonly scripts: ScriptRegistry,
    private readonly epochs: EpochAuthority,
    private readonly warmUp: TenantWarmUp,
    private readonly untold: UntoldEndings,
    private readonly process: ProcessIdentity,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {
    for (const name of SCRIPTS) scripts.bind(name);
  }

  async reserve(request: HoldRequest): Promise<ReserveOutcome> {
    const { limits } = request;
    if (request.isReadmission) await this.refresh();
    let nowMs = this.clock.nowMs();
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      await this.catchUp();
      const epoch = this.epochs.current;
      if (!this.isAnnounced(limits.tenantId, epoch)) await this.announce(limits.tenantId, epoch);
      const days = this.windows.around(nowMs, limits.timezone, 'day');
      const months = this.windows.around(nowMs, limits.timezone, 'month');
      const reply = await this.deduct(request, epoch, days, months);
      const [answer = ''] = reply;
      switch (answer) {
        case 'ADMITTED':
          return { admitted: true, hold: this.admitted(request, epoch, reply, days, months) };
        case 'REFUSED':
          return { admitted: false, refusal: refusalOf(reply) };
        case 'COLD':
          await this.warmUp.install(limits, epoch);
          break;
        case 'EPOCH':
          await this.followEpoch(limits, epoch, BigInt(reply[1] ?? '0'));
          break;
        case 'DAMAGED':
          await this.warmUp.discard(limits, epoch);
          break;
        case 'LATE':
          this.learnClock(Number(reply[1]));
          break;
        case 'CLOCK':
          nowMs = Number(reply[1]);
          break;
        default:
          throw new Error(`quota_deduct answered ${answer}`);
      }
    }
    throw new QuotaUnavailableError('the reservation met no settled projection');
  }

  async settle(tenantId: string, holdIds: readonly string[], posted: PostedBalance): Promise<void> {
    await this.catchUp();
    if (this.epochs.isDemoted) return this.untold.settled();
    await this.tell('quota_settle', tenantId, [posted.posted.toString(), posted.version.toString(), ...holdIds]);
  }

  async release(tenantId: string, holdIds: readonly string[]): Promise<void> {
    await this.catchUp();
    if (this.epochs.isDemoted) return this.untold.released(holdIds);
    await this.tell('quota_release', tenantId, holdIds);
  }

  /** While a newer epoch is known of, but not whose it is, nothing is asked of a server that may have been demoted. */
  private async catchUp(): Promise<void> {
    await this.epochs.behind?.catch((error: unknown) => {
      throw new QuotaUnavailableError('the epoch could not be read', { cause: error });
    });
  }

  /** An ending that a server took which was demoted meanwhile is not told: rejects, and is told again elsewhere. */
  private async tell(
    script: 'quota_settle' | 'quota_release',
    tenantId: string,
    args: readonly string[],
  ): Promise<void> {
    const { server } = this.connection;
    await this.run(script, tenantId, args);
    if (!this.epochs.recordTold(server)) throw new QuotaUnavailableError('the Redis server was demoted');
  }

  private deduct(
    request: HoldRequest,
    epoch: bigint,
    days: WindowPair,
    months: WindowPair,
  ): Promise<readonly string[]> {
    const { limits } = request;
    return this.run('quota_deduct', limits.tenantId, [
      epoch.toString(),
      request.holdId,
      this.process.id,
      request.amount.toString(),
      limits.creditLimit.toString(),
      limits.dailyQuota?.toString() ?? '',
      limits.monthlyQuota?.toString() ?? '',
      ...days.argv,
      ...months.argv,
      this.clock.offsetMs.toString(),
      this.notAfterMs().toFixed(0),
    ]);
  }

  /**
   * Until when the server may begin a reservation that is sent now, by its own clock: after that this caller has given it
   * up and released whatever it may have held. Each connection learns the server's clock from its first LATE, and again
   * once it has forgotten it: LATE corrects only a clock that runs ahead, never one that was set back.
   */
  private notAfterMs(): number {
    const nowMs = this.clock.monotonicMs();
    const known = this.serverClock;
    const isFresh =
      known !== undefined && known.of === this.connection.server && nowMs - known.learnedAtMs < CLOCK_KNOWN_MS;
    return nowMs + (isFresh ? known.aheadMs : 0) + BEGINS_WITHIN_MS;
  }

  private learnClock(serverNowMs: number): void {
    const learnedAtMs = this.clock.monotonicMs();
    this.serverClock = { of: this.connection.server, aheadMs: serverNowMs - learnedAtMs, learnedAtMs };
  }

  /** Reads epoch and server again; a process whose server is not the current one is told so when it reserves. */
  private refresh(): Promise<bigint> {
    return this.epochs.refresh().catch((error: unknown) => {
      throw new QuotaUnavailableError('the epoch could not be read', { cause: error });
    });
  }

  /** The hash carries another epoch than ours: it is old and must be rebuilt, or we are behind and must catch up. */
  private async followEpoch(limits: CallerLimits, ours: bigint, found: bigint): Promise<void> {
    if (found > ours) {
      if ((await this.refresh()) < found) await this.raiseBeyondLost(found);
      return;
    }
    await this.warmUp.install(limits, ours);
  }

  /** Every epoch in Redis was in Postgres first: one that Postgres does not know, it has lost (a restored backup). */
  private raiseBeyondLost(found: bigint): Promise<void> {
    return this.epochs
      .raiseBeyond(found, `Redis holds a projection of epoch ${found} and Postgres has lost it`)
      .catch((error: unknown) => {
        throw new QuotaUnavailableError('the epoch could not be raised', { cause: error });
      });
  }

  /**
   * Once a tenant, epoch and process: the sweeper finds what this process held, should it die. Written before the first
   * reserve, so that no hold is ever without its trace.
   */
  private async announce(tenantId: string, epoch: bigint): Promise<void> {
    const { whyNotReady } = this.connection;
    if (whyNotReady !== undefined) throw new QuotaUnavailableError(whyNotReady);
    if (this.announced.epoch !== epoch) this.announced = { epoch, tenants: new Set() };
    const { tenants } = this.announced;
    await this.connection.client.sadd(tenantsOfProcessKey(this.process.id), tenantId).catch(unanswered);
    tenants.add(tenantId);
  }

  private isAnnounced(tenantId: string, epoch: bigint): boolean {
    return this.announced.epoch === epoch && this.announced.tenants.has(tenantId);
  }

  private admitted(
    request: HoldRequest,
    epoch: bigint,
    reply: readonly string[],
    days: WindowPair,
    months: WindowPair,
  ): Extract<ReserveOutcome, { admitted: true }>['hold'] {
    const [, amountText = '0', before = '0', day, month, usedToday, usedThisMonth] = reply;
    const amount: NanoUsd = nanoUsd(amountText);
    const balanceBefore = nanoUsd(before);
    return {
      holdId: request.holdId,
      tenantId: request.limits.tenantId,
      amount,
      epoch,
      creditLimit: request.limits.creditLimit,
      balanceBefore,
      balanceAfter: subtractNanoUsd(balanceBefore, amount),
      dayWindow: chosen(days, Number(day)),
      monthWindow: chosen(months, Number(month)),
      usedToday: Number(usedToday),
      usedThisMonth: Number(usedThisMonth),
    };
  }

  /** Every reply but the counts of settle and release is an array. */
  private run(script: 'quota_deduct', tenantId: string, args: readonly string[]): Promise<readonly string[]>;
  private run(script: 'quota_settle' | 'quota_release', tenantId: string, args: readonly string[]): Promise<number>;
  private run(script: string, tenantId: string, args: readonly string[]): Promise<ScriptReply> {
    const { whyNotReady } = this.connection;
    if (whyNotReady !== undefined) return Promise.reject(new QuotaUnavailableError(whyNotReady));
    return this.scripts
      .bind(script)(2, quotaKey(tenantId), holdsKey(tenantId), ...args)
      .catch(script === 'quota_deduct' ? unansweredReserve : unanswered);
  }
}

function unanswered(cause: unknown): never {
  throw new QuotaUnavailableError('Redis did not answer', { cause });
}

function unansweredReserve(cause: unknown): never {
  throw new QuotaUnavailableError('Redis did not answer', { cause, mayHold: true });
}

/** The window the script picked; a resend may name one that this caller did not send. */
function chosen(pair: WindowPair, startMs: number): CalendarWindow {
  if (pair.current.startMs === startMs) return pair.current;
  if (pair.next.startMs === startMs) return pair.next;
  return { startMs, endMs: pair.current.startMs };
}

function refusalOf(reply: readonly string[]): Refusal {
  const [, scope = '', limit = '0', used = '0', resetsMs = ''] = reply;
  switch (scope) {
    case 'balance':
      return refuse('QUOTA_BALANCE_EXCEEDED', {
        // As asked for, which may be more than any account holds.
        values: { needed: toDecimalUsd(nanoUsd(BigInt(limit))), available: toDecimalUsd(nanoUsd(used)) },
      });
    case 'daily':
      return refuse('QUOTA_DAILY_EXCEEDED', { values: { limit, used }, windowResetsAt: new Date(Number(resetsMs)) });
    case 'monthly':
      return refuse('QUOTA_MONTHLY_EXCEEDED', { values: { limit, used }, windowResetsAt: new Date(Number(resetsMs)) });
    default:
      throw new Error(`quota_deduct refused for an unknown scope ${scope}`);
  }
}
