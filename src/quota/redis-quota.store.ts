import { Inject, Injectable } from '@nestjs/common';
import { CLOCK, type Clock } from '../kernel/clock';
import { subtractNanoUsd, ZERO_NANO_USD } from '../kernel/money';
import { ProcessIdentity } from '../platform/process/process-identity';
import type { RedisServer } from '../platform/redis/redis-connection';
import { EpochAuthority } from './epoch-authority';
import { parseHoldEntry } from './hold-entry';
import {
  type AdmittedHold,
  type EndedHold,
  type ExtendOutcome,
  type HoldExtension,
  type HoldRequest,
  type PostedBalance,
  QuotaUnavailableError,
  type QuotaStore,
  type ReserveOutcome,
} from './quota-store.port';
import { QuotaScripts } from './redis/quota-scripts';
import { ServerDeadline } from './redis/server-deadline';
import type { CallerLimits } from './scopes/caller-limits';
import type { ScopeSpec } from './scopes/scope';
import { ScopePlans } from './scopes/scope-plans';
import { balanceRefusal, scopeRefusal, subscriptionRefusal } from './scopes/scope-refusal';
import { calendarWindowsOf } from './tenant-windows';
import { UntoldEndings } from './untold-endings';
import { TenantWarmUp } from './warm-up/tenant-warm-up';

/** Rounds of rebuild, epoch change or clock correction one reservation may need before it is given up. */
const MAX_ROUNDS = 8;

type Reply = readonly string[];

/** When Redis was asked, by our monotonic clock, and in which epoch. */
interface Asked {
  readonly epoch: bigint;
  readonly askedMs: number;
}

/** The quota authority while Redis is up: every reservation is one call of quota_deduct.lua. */
@Injectable()
export class RedisQuotaStore implements QuotaStore {
  /** Tenants this process has announced in its set, on the server and in the epoch they were announced in. */
  private announced: { readonly epoch: bigint; readonly on: RedisServer | undefined; readonly tenants: Set<string> } = {
    epoch: 0n,
    on: undefined,
    tenants: new Set(),
  };
  private readonly deadline: ServerDeadline;

  constructor(
    private readonly scripts: QuotaScripts,
    private readonly epochs: EpochAuthority,
    private readonly warmUp: TenantWarmUp,
    private readonly untold: UntoldEndings,
    private readonly process: ProcessIdentity,
    private readonly plans: ScopePlans,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {
    this.deadline = new ServerDeadline(clock);
  }

  reserve(request: HoldRequest): Promise<ReserveOutcome> {
    return this.ask(request, false);
  }

  quote(request: HoldRequest): Promise<ReserveOutcome> {
    return this.ask(request, true);
  }

  async extend(extension: HoldExtension): Promise<ExtendOutcome> {
    await this.catchUp();
    const { limits, holdId, amount, epoch } = extension;
    const limited = this.plans.of(extension).filter(({ measure }) => measure === 'usd');
    const args = (): string[] => [
      epoch.toString(),
      holdId,
      amount.toString(),
      limits.creditLimit.toString(),
      this.deadline.notAfterMs(this.scripts.server).toFixed(0),
      ...limited.flatMap((spec) => [spec.counter, spec.limit.toString()]),
    ];
    let reply = await this.scripts.run('quota_extend', limits.tenantId, args());
    if (reply[0] === 'LATE') {
      this.deadline.learn(this.scripts.server, Number(reply[1]));
      reply = await this.scripts.run('quota_extend', limits.tenantId, args());
    }
    const [answer = ''] = reply;
    switch (answer) {
      case 'EXTENDED':
        return { extended: true };
      case 'REFUSED':
        return { extended: false, refusal: refusalOf(extension, limited, reply) };
      case 'GONE':
      case 'EPOCH':
        return { extended: false, refusal: 'gone' };
      default:
        throw new QuotaUnavailableError(`quota_extend answered ${answer}`, { mayHold: true });
    }
  }

  async settle(tenantId: string, ended: readonly EndedHold[], posted: PostedBalance): Promise<void> {
    await this.catchUp();
    if (this.epochs.isDemoted) return this.untold.settled();
    await this.tell(tenantId, [
      posted.posted.toString(),
      posted.version.toString(),
      ...ended.flatMap(({ holdId, amount, tokens }) => [holdId, amount.toString(), tokens.toString()]),
    ]);
  }

  async release(tenantId: string, holdIds: readonly string[]): Promise<void> {
    await this.catchUp();
    if (this.epochs.isDemoted) return this.untold.released(holdIds);
    await this.tell(tenantId, ['', '', ...holdIds.flatMap((holdId) => [holdId, '0', '0'])]);
  }

  private async ask(request: HoldRequest, isDry: boolean): Promise<ReserveOutcome> {
    const { limits } = request;
    const plan = planOf(this.plans.of(request), request);
    let nowMs = this.clock.nowMs();
    const invalid = subscriptionRefusal(limits, nowMs);
    if (invalid) return { admitted: false, refusal: invalid };
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      await this.catchUp();
      const epoch = this.epochs.current;
      if (!isDry && !this.isAnnounced(limits.tenantId, epoch)) await this.announce(limits.tenantId, epoch);
      const askedMs = this.clock.monotonicMs();
      const reply = await this.deduct(request, plan, { epoch, nowMs, isDry });
      const [answer = '', first = ''] = reply;
      switch (answer) {
        case 'ADMITTED':
          return { admitted: true, hold: this.admitted(request, epoch, first) };
        case 'REFUSED':
          return { admitted: false, refusal: refusalOf(request, plan, reply) };
        case 'LATE':
          this.deadline.learn(this.scripts.server, Number(first));
          break;
        case 'CLOCK':
          nowMs = Number(first);
          break;
        default:
          await this.mend(limits, { epoch, askedMs }, reply);
      }
    }
    throw new QuotaUnavailableError('the reservation met no settled projection');
  }

  /** What the projection lacks before it can answer. */
  private async mend(limits: CallerLimits, asked: Asked, [answer = '', ...rest]: Reply): Promise<void> {
    const { epoch, askedMs } = asked;
    switch (answer) {
      case 'COLD':
        await this.warmUp.install(limits, epoch, askedMs);
        return;
      case 'EPOCH':
        await this.followEpoch(limits, asked, BigInt(rest[0] ?? '0'));
        return;
      case 'DAMAGED':
        await this.warmUp.discard(limits, epoch);
        return;
      case 'UNKNOWN':
        await this.warmUp.learn(limits, epoch, rest.slice(1), Number(rest[0]));
        return;
      default:
        throw new Error(`quota_deduct answered ${answer}`);
    }
  }

  /** While a newer epoch is known of, but not whose it is, nothing is asked of a server that may have been demoted. */
  private async catchUp(): Promise<void> {
    await this.epochs.behind?.catch((error: unknown) => {
      throw new QuotaUnavailableError('the epoch could not be read', { cause: error });
    });
  }

  /** An ending that a server took which was demoted meanwhile is not told: rejects, and is told again elsewhere. */
  private async tell(tenantId: string, args: readonly string[]): Promise<void> {
    const { server } = this.scripts;
    await this.scripts.run('quota_end', tenantId, args);
    if (!this.epochs.recordTold(server)) throw new QuotaUnavailableError('the Redis server was demoted');
  }

  private deduct(
    request: HoldRequest,
    plan: readonly ScopeSpec[],
    { epoch, nowMs, isDry }: { readonly epoch: bigint; readonly nowMs: number; readonly isDry: boolean },
  ): Promise<Reply> {
    const { limits } = request;
    const args = [
      epoch.toString(),
      request.holdId,
      this.process.id,
      request.amount.toString(),
      request.tokens.toString(),
      limits.creditLimit.toString(),
      limits.subscription === null ? 'wallet' : 'subscription',
      this.clock.offsetMs.toString(),
      this.deadline.notAfterMs(this.scripts.server).toFixed(0),
      isDry ? '1' : '',
    ];
    for (const scope of this.plans.args(plan, nowMs)) args.push(...scope);
    return this.scripts.run('quota_deduct', limits.tenantId, args);
  }

  /** Reads epoch and server again; a process whose server is not the current one is told so when it reserves. */
  private refresh(): Promise<bigint> {
    return this.epochs.refresh().catch((error: unknown) => {
      throw new QuotaUnavailableError('the epoch could not be read', { cause: error });
    });
  }

  /** The hash carries another epoch than ours: it is old and must be rebuilt, or we are behind and must catch up. */
  private async followEpoch(limits: CallerLimits, { epoch: ours, askedMs }: Asked, found: bigint): Promise<void> {
    if (found > ours) {
      if ((await this.refresh()) < found) await this.raiseBeyondLost(found);
      return;
    }
    await this.warmUp.install(limits, ours, askedMs);
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
   * Once a tenant, epoch and server: the sweeper finds what this process held, should it die. Written before the first
   * reserve, so that no hold is ever without its trace.
   */
  private async announce(tenantId: string, epoch: bigint): Promise<void> {
    const { server } = this.scripts;
    if (this.announced.epoch !== epoch || this.announced.on !== server) {
      this.announced = { epoch, on: server, tenants: new Set() };
    }
    const { tenants } = this.announced;
    await this.scripts.announce(this.process.id, tenantId);
    tenants.add(tenantId);
  }

  private isAnnounced(tenantId: string, epoch: bigint): boolean {
    const { announced } = this;
    return announced.epoch === epoch && announced.on === this.scripts.server && announced.tenants.has(tenantId);
  }

  private admitted(request: HoldRequest, epoch: bigint, entryText: string): AdmittedHold {
    const { amount, funding, balanceBefore, reservedAtMs, counted } = parseHoldEntry(entryText);
    const { tenantId, timezone, creditLimit } = request.limits;
    return {
      holdId: request.holdId,
      tenantId,
      amount,
      funding,
      epoch,
      isDurable: false,
      creditLimit,
      balanceBefore,
      balanceAfter: subtractNanoUsd(balanceBefore, funding === 'wallet' ? amount : ZERO_NANO_USD),
      ...calendarWindowsOf(counted, this.plans.windows, reservedAtMs, timezone),
      counted,
    };
  }
}

/** The minute has counted the call when it was admitted first: those counters know no epoch and were not rebuilt. */
function planOf(plan: readonly ScopeSpec[], { isReadmission }: HoldRequest): readonly ScopeSpec[] {
  return isReadmission ? plan.filter(({ window }) => window.kind !== 'rolling') : plan;
}

/** From REFUSED place limit used resets_ms: place 0 is the balance, else the scope's place in the plan from 1. */
function refusalOf(
  { amount }: { readonly amount: HoldRequest['amount'] },
  plan: readonly ScopeSpec[],
  [, place = '0', limit = '0', used = '0', resetsMs = '']: Reply,
): Extract<ReserveOutcome, { admitted: false }>['refusal'] {
  if (place === '0') return balanceRefusal(amount, { limit, used, resetsMs });
  const spec = plan[Number(place) - 1];
  if (!spec) throw new Error(`quota_deduct refused for scope ${place} of ${plan.length}`);
  return scopeRefusal(spec, { limit, used, resetsMs });
}
