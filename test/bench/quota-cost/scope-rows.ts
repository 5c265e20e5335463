import { newId } from '../../../src/kernel/ids';
import { nanoUsd } from '../../../src/kernel/money';
import { type CallerLimits, type KeyLimits, NO_LIMITS } from '../../../src/quota/scopes/caller-limits';
import { scopesOf } from '../../../src/quota/scopes/scope-plan';

type Limits = Omit<CallerLimits, 'tenantId' | 'timezone' | 'creditLimit'>;

/** One row of the table: what a caller is limited by. */
export interface ScopeRow {
  readonly name: string;
  readonly limits: Limits;
}

/** Limits that no row reaches. */
const FAR = 1_000_000_000;
const FAR_NANO_USD = nanoUsd(5_000_000_000_000_000n);
const FAR_USD_LIMITS = { day: FAR_NANO_USD, week: FAR_NANO_USD, month: FAR_NANO_USD };

const keyWith = (limits: Partial<KeyLimits>): KeyLimits => ({
  apiKeyId: newId(),
  budget: null,
  usd5h: null,
  usd1d: null,
  usd7d: null,
  ...limits,
});

/** None, one of each kind of window, and all that a call in wallet mode can meet at once; the allowance is soon used up. */
export function scopeRows(): readonly ScopeRow[] {
  const row = (name: string, limits: Partial<Limits>): ScopeRow => ({ name, limits: { ...NO_LIMITS, ...limits } });
  return [
    row('none', {}),
    row('calendar', { dailyQuota: FAR }),
    row('first use', { key: keyWith({ usd5h: FAR_NANO_USD }) }),
    row('lifetime', { key: keyWith({ budget: FAR_NANO_USD }) }),
    row('rolling', { rpm: FAR }),
    row('open', { concurrency: FAR }),
    row('all', {
      dailyQuota: FAR,
      monthlyQuota: FAR,
      rpm: FAR,
      tpm: FAR,
      concurrency: FAR,
      allowances: new Map([['chat', 1]]),
      key: keyWith({ budget: FAR_NANO_USD, usd5h: FAR_NANO_USD, usd1d: FAR_NANO_USD, usd7d: FAR_NANO_USD }),
      user: { userId: newId(), rpm: FAR, platforms: new Map([['openai', FAR_USD_LIMITS]]) },
      group: { groupId: newId(), rpm: FAR },
    }),
  ];
}

/** Scopes that a call of this caller is checked against, the balance not counted. */
export function scopeCount(limits: CallerLimits, { hasRolling }: { readonly hasRolling: boolean }): number {
  return scopesOf(limits, { service: 'chat', platform: 'openai', globalZone: 'UTC' }).filter(
    ({ window }) => hasRolling || window.kind !== 'rolling',
  ).length;
}
