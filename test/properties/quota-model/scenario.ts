import fc from 'fast-check';
import { newId } from '../../../src/kernel/ids';
import { nanoUsd, type NanoUsd } from '../../../src/kernel/money';
import type { CallerLimits, UsdLimits } from '../../../src/quota/scopes/caller-limits';
import { type Caller, PLATFORM, type UsdPeriods } from './limits';

const REQUEST_LIMITS = [
  'dayRequests',
  'monthRequests',
  'rpm',
  'concurrency',
  'freeCalls',
  'groupRpm',
  'userRpm',
] as const;
const USD_LIMITS = [
  'budget',
  'usd5h',
  'usd1d',
  'usd7d',
  'userDay',
  'userWeek',
  'user30d',
  'subDay',
  'subWeek',
  'subMonth',
] as const;
const LIMITS = [...REQUEST_LIMITS, ...USD_LIMITS, 'tpm'] as const;
export type LimitName = (typeof LIMITS)[number];
/** A limit that is absent is unlimited. */
export type LimitSettings = Readonly<Partial<Record<LimitName, number>>>;

export interface Scenario {
  readonly zone: string;
  readonly beginsAtMs: number;
  readonly creditLimit: number;
  readonly balance: number;
  readonly promo: number;
  /** How long the subscription of one of the callers runs. */
  readonly subscriptionHours: number;
  readonly limits: LimitSettings;
}

/**
 * Ordinary days, and the hours around what calendars do: clocks set forward and back, a leap day, the end of a year, a
 * Sunday. All in the past of whoever runs it, so that no window of the model begins after the ids of its rows.
 */
const BEGINNINGS = [
  '2023-11-14T12:00:00Z',
  '2024-03-30T23:40:00Z',
  '2024-03-10T06:30:00Z',
  '2024-10-26T22:10:00Z',
  '2024-02-28T23:30:00Z',
  '2024-12-31T22:45:00Z',
  '2024-06-30T18:15:00Z',
].map((text) => Date.parse(text));

const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe'];

const limit: fc.Arbitrary<readonly [LimitName, number]> = fc
  .constantFrom(...LIMITS)
  .chain((name) =>
    fc.tuple(
      fc.constant(name),
      name === 'tpm' || (USD_LIMITS as readonly string[]).includes(name)
        ? fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 150 }))
        : fc.integer({ min: 0, max: 4 }),
    ),
  );

export const limitChange: fc.Arbitrary<readonly [LimitName, number | undefined]> = fc.oneof(
  limit,
  fc.tuple(fc.constantFrom(...LIMITS), fc.constant(undefined)),
);

export const scenario: fc.Arbitrary<Scenario> = fc.record({
  zone: fc.constantFrom(...ZONES),
  beginsAtMs: fc.constantFrom(...BEGINNINGS),
  creditLimit: fc.constantFrom(0, 0, 30, 200),
  balance: fc.constantFrom(0, 60, 150, 2_000, 2_000, 2_000),
  promo: fc.constantFrom(0, 0, 25, 90),
  subscriptionHours: fc.constantFrom(6, 24 * 60, 24 * 60, 24 * 60),
  limits: fc
    .array(limit, { minLength: 1, maxLength: 5, size: 'max' })
    .map((all) => Object.fromEntries(all) as LimitSettings),
});

/** Names of what the callers belong to: two keys of one user, a key with a subscription, a key of nobody, one without. */
export interface Names {
  readonly keys: readonly string[];
  readonly userId: string;
  readonly groupId: string;
  readonly subscriptionId: string;
}

export const CALLERS = 5;

export function newNames(): Names {
  return {
    keys: Array.from({ length: CALLERS }, newId),
    userId: newId(),
    groupId: newId(),
    subscriptionId: newId(),
  };
}

export function callersOf(names: Names, scene: Scenario, limits: LimitSettings): readonly Caller[] {
  const count = (name: LimitName): number | null => limits[name] ?? null;
  const usd = (name: LimitName): bigint | null => (limits[name] === undefined ? null : BigInt(limits[name]));
  const periods = (day: LimitName, week: LimitName, month: LimitName): UsdPeriods => ({
    day: usd(day),
    week: usd(week),
    month: usd(month),
  });
  const user = { id: names.userId, rpm: count('userRpm'), ...periods('userDay', 'userWeek', 'user30d') };
  const group = { id: names.groupId, rpm: count('groupRpm') };
  const subscription = {
    id: names.subscriptionId,
    endsAtMs: scene.beginsAtMs + scene.subscriptionHours * 3_600_000,
    ...periods('subDay', 'subWeek', 'subMonth'),
  };
  const kinds: readonly Pick<Caller, 'user' | 'group' | 'subscription'>[] = [
    { user, group, subscription: null },
    { user, group: null, subscription: null },
    { user, group, subscription },
    { user: null, group, subscription: null },
    { user: null, group: null, subscription: 'none' },
  ];
  return kinds.map((kind, at) => ({
    ...kind,
    zone: scene.zone,
    creditLimit: BigInt(scene.creditLimit),
    dayRequests: count('dayRequests'),
    monthRequests: count('monthRequests'),
    rpm: count('rpm'),
    tpm: count('tpm'),
    concurrency: count('concurrency'),
    // Where there is none the row of the allowance says 0.
    freeCalls: limits.freeCalls === 0 ? null : count('freeCalls'),
    key: {
      id: names.keys[at] ?? '',
      budget: usd('budget'),
      usd5h: usd('usd5h'),
      usd1d: usd('usd1d'),
      usd7d: usd('usd7d'),
    },
  }));
}

/** The same as the product is told it. */
export function callerLimits(tenantId: string, caller: Caller): CallerLimits {
  const { key, user, group, subscription } = caller;
  return {
    tenantId,
    timezone: caller.zone,
    creditLimit: nanoUsd(caller.creditLimit),
    dailyQuota: caller.dayRequests,
    monthlyQuota: caller.monthRequests,
    rpm: caller.rpm,
    tpm: caller.tpm,
    concurrency: caller.concurrency,
    allowances: new Map([['chat', caller.freeCalls ?? 0]]),
    key: {
      apiKeyId: key.id,
      budget: money(key.budget),
      usd5h: money(key.usd5h),
      usd1d: money(key.usd1d),
      usd7d: money(key.usd7d),
    },
    user: user && { userId: user.id, rpm: user.rpm, platforms: new Map([[PLATFORM, usdLimits(user)]]) },
    group: group && { groupId: group.id, rpm: group.rpm },
    subscription:
      subscription && subscription !== 'none'
        ? {
            subscriptionId: subscription.id,
            isActive: true,
            startsAtMs: 0,
            endsAtMs: subscription.endsAtMs,
            ...usdLimits(subscription),
          }
        : subscription,
  };
}

function usdLimits({ day, week, month }: UsdPeriods): UsdLimits {
  return { day: money(day), week: money(week), month: money(month) };
}

function money(amount: bigint | null): NanoUsd | null {
  return amount === null ? null : nanoUsd(amount);
}
