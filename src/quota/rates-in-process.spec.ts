import { newId } from '../kernel/ids';
import { nanoUsd, ZERO_NANO_USD } from '../kernel/money';
import type { HoldRequest } from './quota-store.port';
import { NO_LIMITS } from './scopes/caller-limits';
import type { CallerLimits } from './scopes/caller-limits';
import { scopesOf } from './scopes/scope-plan';
import { RatesInProcess } from './rates-in-process';

const START_MS = Date.UTC(2027, 0, 1);

describe('limits a minute of one process', () => {
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

  /** The refusal's code; undefined where it is counted. */
  function take(call: HoldRequest): string | undefined {
    const plan = scopesOf(call.limits, { service: 'chat', platform: 'openai', globalZone: 'UTC' });
    const taken = rates.take(call, plan);
    return 'code' in taken ? taken.code : undefined;
  }

  it('admit exactly the limit in any 60 seconds, and say when there is room again', () => {
    const limits = limitsOf({ rpm: 3 });
    expect(take(request(limits))).toBeUndefined();
    nowMs += 30_000;
    expect([take(request(limits)), take(request(limits))]).toEqual([undefined, undefined]);
    const call = request(limits);
    const refusal = rates.quote(call, scopesOf(limits, { service: 'chat', platform: 'openai', globalZone: 'UTC' }));
    expect(refusal).toMatchObject({
      code: 'TENANT_RPM_EXCEEDED',
      quota: { limit: 3n, used: 3n },
      windowResetsAt: new Date(START_MS + 60_000),
    });
    nowMs = START_MS + 59_999;
    expect(take(request(limits))).toBe('TENANT_RPM_EXCEEDED');
    nowMs = START_MS + 60_000;
    expect([take(request(limits)), take(request(limits))]).toEqual([undefined, 'TENANT_RPM_EXCEEDED']);
    nowMs += 3_600_000;
    expect([1, 2, 3, 4].map(() => take(request(limits)))).toEqual([
      undefined,
      undefined,
      undefined,
      'TENANT_RPM_EXCEEDED',
    ]);
  });

  it('count a call in all of them or in none', () => {
    const limits = limitsOf({ rpm: 10, tpm: 100 });
    expect(take(request(limits, 101))).toBe('TENANT_TPM_EXCEEDED');
    for (let call = 0; call < 10; call += 1) expect(take(request(limits, 10))).toBeUndefined();
    expect(take(request(limits, 0))).toBe('TENANT_RPM_EXCEEDED');
  });

  it('give back what was not made, and correct tokens to what a call had', () => {
    const limits = limitsOf({ rpm: 2, tpm: 100 });
    const [first, second] = [request(limits, 60), request(limits, 40)];
    expect([take(first), take(second)]).toEqual([undefined, undefined]);
    rates.giveBack([second.holdId]);
    rates.giveBack([second.holdId]);
    rates.settle([{ holdId: first.holdId, amount: nanoUsd(1n), tokens: 10 }]);
    rates.settle([{ holdId: first.holdId, amount: nanoUsd(1n), tokens: 10 }]);
    expect([take(request(limits, 90)), take(request(limits, 0))]).toEqual([undefined, 'TENANT_RPM_EXCEEDED']);
  });

  it('count a resend once', () => {
    const limits = limitsOf({ rpm: 1 });
    const call = request(limits);
    expect([take(call), take(call), take(call)]).toEqual([undefined, undefined, undefined]);
    expect(take(request(limits))).toBe('TENANT_RPM_EXCEEDED');
  });

  it('correct nothing in a second that has left the sixty', () => {
    const limits = limitsOf({ tpm: 100 });
    const old = request(limits, 100);
    take(old);
    nowMs += 60_000;
    expect(take(request(limits, 90))).toBeUndefined();
    rates.giveBack([old.holdId]);
    expect(take(request(limits, 11))).toBe('TENANT_TPM_EXCEEDED');
  });

  it('keep tenants apart', () => {
    const [one, another] = [limitsOf({ rpm: 1 }), limitsOf({ rpm: 1 })];
    expect([take(request(one)), take(request(another))]).toEqual([undefined, undefined]);
  });

  it('go on in the newest second where the clock was set back', () => {
    const limits = limitsOf({ rpm: 1 });
    take(request(limits));
    nowMs -= 30_000;
    expect(take(request(limits))).toBe('TENANT_RPM_EXCEEDED');
    nowMs = START_MS + 60_000;
    expect(take(request(limits))).toBeUndefined();
  });
});
