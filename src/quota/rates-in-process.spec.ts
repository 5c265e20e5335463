import { newId } from '../kernel/ids';
import { nanoUsd, ZERO_NANO_USD } from '../kernel/money';
import type { HoldRequest } from './quota-store.port';
import { NO_LIMITS } from './scopes/caller-limits';
import type { CallerLimits } from './scopes/caller-limits';
import type { ScopeSpec } from './scopes/scope';
import { scopesOf } from './scopes/scope-plan';
import { RatesInProcess } from './rates-in-process';

const START_MS = Date.UTC(2027, 0, 1);

describe('what one process counts a minute', () => {
  let nowMs: number;
  let rates: RatesInProcess;

  beforeEach(() => {
    nowMs = START_MS;
    rates = new RatesInProcess({ offsetMs: 0, nowMs: () => nowMs, monotonicMs: () => nowMs });
  });

  const limitsOf = (overrides: Partial<CallerLimits>): CallerLimits => ({
    tenantId: newId(),
    timezone: 'UTC',
    creditLimit: ZERO_NANO_USD,
    ...NO_LIMITS,
    ...overrides,
  });

  const request = (limits: CallerLimits, tokens = 1): HoldRequest => ({
    holdId: newId(),
    limits,
    amount: nanoUsd(1n),
    tokens,
    service: 'chat',
    platform: 'openai',
    pending: {} as HoldRequest['pending'],
  });

  const planOf = (limits: CallerLimits): readonly ScopeSpec[] =>
    scopesOf(limits, { service: 'chat', platform: 'openai', globalZone: 'UTC' });

  const take = (call: HoldRequest): readonly bigint[] => rates.take(call, planOf(call.limits)).map(({ used }) => used);

  const fitsAtMs = (call: HoldRequest, counter: string): string => {
    const spec = planOf(call.limits).find((scope) => scope.counter === counter);
    if (!spec) throw new Error(`no ${counter}`);
    return rates.fitsAtMs(call, spec);
  };

  it('is what the last 60 seconds had, and there is room again when enough of it has left', () => {
    const limits = limitsOf({ rpm: 3 });
    const { tenantId } = limits;
    expect(take(request(limits))).toEqual([1n]);
    nowMs += 30_000;
    expect([take(request(limits)), take(request(limits))]).toEqual([[2n], [3n]]);
    expect(fitsAtMs(request(limits), 'rpm')).toBe((START_MS + 60_000).toString());
    nowMs = START_MS + 59_999;
    expect(rates.used(tenantId, 'rpm')).toBe(3);
    nowMs = START_MS + 60_000;
    expect(rates.used(tenantId, 'rpm')).toBe(2);
    expect(take(request(limits))).toEqual([3n]);
    expect(fitsAtMs(request(limits), 'rpm')).toBe((START_MS + 90_000).toString());
    nowMs += 3_600_000;
    expect(rates.used(tenantId, 'rpm')).toBe(0);
  });

  it('never has room for a call that is larger than its limit', () => {
    const limits = limitsOf({ tpm: 100 });
    take(request(limits, 60));
    expect(fitsAtMs(request(limits, 101), 'tpm')).toBe('');
    expect(fitsAtMs(request(limits, 100), 'tpm')).toBe((START_MS + 60_000).toString());
  });

  it('has a call in all its limits, and a quoted one in none', () => {
    const limits = limitsOf({ rpm: 10, tpm: 100, dailyQuota: 5 });
    take(request(limits, 30));
    const quoted = rates.quote(request(limits, 20), planOf(limits));
    expect(quoted.map(({ counter, measure, isRolling, used }) => [counter, measure, isRolling, used])).toEqual([
      ['rpm', 'requests', true, 2n],
      ['tpm', 'tokens', true, 50n],
    ]);
    expect([rates.used(limits.tenantId, 'rpm'), rates.used(limits.tenantId, 'tpm')]).toEqual([1, 30]);
  });

  it('gives back what was not made, and corrects tokens to what a call had', () => {
    const limits = limitsOf({ rpm: 2, tpm: 100 });
    const [first, second] = [request(limits, 60), request(limits, 40)];
    expect([take(first), take(second)]).toEqual([
      [1n, 60n],
      [2n, 100n],
    ]);
    rates.giveBack([second.holdId]);
    rates.giveBack([second.holdId]);
    rates.settle([{ holdId: first.holdId, amount: nanoUsd(1n), tokens: 10 }]);
    rates.settle([{ holdId: first.holdId, amount: nanoUsd(1n), tokens: 10 }]);
    expect([rates.used(limits.tenantId, 'rpm'), rates.used(limits.tenantId, 'tpm')]).toEqual([1, 10]);
  });

  it('has a resend once', () => {
    const call = request(limitsOf({ rpm: 1 }));
    expect([take(call), take(call), take(call)]).toEqual([[1n], [1n], [1n]]);
  });

  it('corrects nothing in a second that has left the sixty', () => {
    const limits = limitsOf({ tpm: 100 });
    const old = request(limits, 100);
    take(old);
    nowMs += 60_000;
    expect(take(request(limits, 90))).toEqual([90n]);
    rates.giveBack([old.holdId]);
    expect(rates.used(limits.tenantId, 'tpm')).toBe(90);
  });

  it('keeps tenants apart', () => {
    expect([take(request(limitsOf({ rpm: 1 }))), take(request(limitsOf({ rpm: 1 })))]).toEqual([[1n], [1n]]);
  });

  it('goes on in the newest second where the clock was set back', () => {
    const limits = limitsOf({ rpm: 1 });
    take(request(limits));
    nowMs -= 30_000;
    expect(rates.used(limits.tenantId, 'rpm')).toBe(1);
    nowMs = START_MS + 60_000;
    expect(rates.used(limits.tenantId, 'rpm')).toBe(0);
  });
});
