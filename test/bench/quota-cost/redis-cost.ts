import type { Redis } from 'ioredis';
import { nanoUsd } from '../../../src/kernel/money';
import { holdsKey, quotaKey } from '../../../src/quota/quota-keys';
import { RedisQuotaStore } from '../../../src/quota/redis-quota.store';
import type { CallerLimits } from '../../../src/quota/scopes/caller-limits';
import { createTenant, holdRequest, type MoneyProcess } from '../../support/money-harness';
import { processCpuMicros } from '../cpu-clock';
import { scopeCount, type ScopeRow } from './scope-rows';

export interface ScriptCost {
  /** Of the whole process: parsing, socket, script, append-only file. */
  readonly cpuMicros: number;
  /** Of the script alone, as the server itself counts it (`INFO commandstats`). */
  readonly scriptMicros: number;
}

export interface RedisCost {
  readonly deduct: ScriptCost;
  readonly end: ScriptCost;
}

interface Reading {
  readonly cpuMicros: number;
  readonly calls: number;
  readonly scriptMicros: number;
}

export const BALANCE = nanoUsd(1_000_000_000_000_000n);
/** What a call holds and what it comes to: counters and balance are corrected by the difference. */
export const HELD_NANO_USD = 2_000_000n;
export const COST_NANO_USD = 1_775_000n;
const TOKENS = 350;
const WARM_UP_CALLS = 200;
/** A reservation that is asked again (the server's clock is learned once a minute) is a call more. */
const MOST_MORE_CALLS = 0.01;

/** The cost of reserving and settling for one caller, through the product's own store. */
export class RedisCaller {
  readonly scopes: number;
  private version = 1_000_000n;
  private settled = 0;

  private constructor(
    private readonly store: RedisQuotaStore,
    private readonly client: Redis,
    private readonly limits: CallerLimits,
    private readonly redisPid: number,
    private readonly inFlight: number,
  ) {
    this.scopes = scopeCount(limits, { hasRolling: true });
  }

  static async create(
    money: MoneyProcess,
    row: ScopeRow,
    { redisPid, inFlight }: { readonly redisPid: number; readonly inFlight: number },
  ): Promise<RedisCaller> {
    const limits = await createTenant(money, BALANCE, row.limits);
    const store = money.module.get(RedisQuotaStore);
    const caller = new RedisCaller(store, money.redis.client, limits, redisPid, inFlight);
    // The projection is installed, its counters are learned, the free call is used up.
    await caller.settle(await caller.reserve(WARM_UP_CALLS));
    return caller;
  }

  /** All calls are held at once, then all are settled, so that each script has a stretch that /proc can measure. */
  async measure(calls: number): Promise<RedisCost> {
    const before = await this.read();
    const held = await this.reserve(calls);
    const between = await this.read();
    await this.settle(held);
    const after = await this.read();
    await this.proveEnded();
    return { deduct: costOf(before, between, calls), end: costOf(between, after, calls) };
  }

  private async reserve(calls: number): Promise<string[]> {
    const held: string[] = [];
    await this.each(calls, async () => {
      const outcome = await this.store.reserve(holdRequest(this.limits, HELD_NANO_USD, { tokens: TOKENS }));
      if (!outcome.admitted) throw new Error(`refused: ${outcome.refusal.code}`);
      held.push(outcome.hold.holdId);
    });
    return held;
  }

  private async settle(held: readonly string[]): Promise<void> {
    await this.each(held.length, async (at) => {
      const ended = { holdId: held[at] ?? '', amount: nanoUsd(COST_NANO_USD), tokens: TOKENS - 1 };
      this.version += 1n;
      await this.store.settle(this.limits.tenantId, [ended], { posted: BALANCE, version: this.version });
    });
    this.settled += held.length;
  }

  /** So many calls, always `inFlight` of them open. */
  private async each(calls: number, call: (at: number) => Promise<void>): Promise<void> {
    let next = 0;
    const caller = async (): Promise<void> => {
      while (next < calls) await call(next++);
    };
    await Promise.all(Array.from({ length: this.inFlight }, caller));
  }

  private async read(): Promise<Reading> {
    const stats = /^cmdstat_evalsha:calls=(\d+),usec=(\d+)/m.exec(await this.client.info('commandstats'));
    return {
      cpuMicros: processCpuMicros(this.redisPid),
      calls: Number(stats?.[1] ?? 0),
      scriptMicros: Number(stats?.[2] ?? 0),
    };
  }

  /** A figure for holds that did not end, or for a counter that did not count, is worth nothing. */
  private async proveEnded(): Promise<void> {
    const { tenantId } = this.limits;
    const [open, held, day] = await Promise.all([
      this.client.exists(holdsKey(tenantId)),
      this.client.hget(quotaKey(tenantId), 'held'),
      this.client.hget(quotaKey(tenantId), 'c:day'),
    ]);
    if (open !== 0 || held !== '0') throw new Error(`after all holds have ended ${held ?? 'nothing'} is held`);
    const counted = day?.split(':')[2];
    if (this.limits.dailyQuota !== null && counted !== String(this.settled)) {
      throw new Error(`the day counts ${counted ?? 'nothing'} of ${this.settled} calls`);
    }
  }
}

function costOf(before: Reading, after: Reading, expectedCalls: number): ScriptCost {
  const calls = after.calls - before.calls;
  if (calls < expectedCalls || calls > expectedCalls * (1 + MOST_MORE_CALLS)) {
    throw new Error(`${calls} scripts ran for ${expectedCalls} calls: not a measurement`);
  }
  return {
    cpuMicros: (after.cpuMicros - before.cpuMicros) / calls,
    scriptMicros: (after.scriptMicros - before.scriptMicros) / calls,
  };
}
