import { refuse, type Refusal } from '../kernel/errors';
import { nanoUsd } from '../kernel/money';
import { Metrics } from '../platform/metrics/metrics';
import { type AdmittedHold, type HoldRequest, QuotaUnavailableError, type QuotaStore } from './quota-store.port';
import { type CallerLimits, NO_LIMITS, type SubscriptionLimits } from './scopes/caller-limits';
import { scopesOf } from './scopes/scope-plan';
import { ShadowQuotaStore } from './shadow-quota.store';

const LIMITED: CallerLimits = {
  tenantId: 'tenant',
  timezone: 'UTC',
  creditLimit: nanoUsd(500n),
  ...NO_LIMITS,
  dailyQuota: 10,
  rpm: 5,
  tpm: 100,
  concurrency: 2,
  allowances: new Map([['chat', 3]]),
  key: { apiKeyId: 'key', budget: nanoUsd(1n), usd5h: nanoUsd(1n), usd1d: null, usd7d: null },
  user: { userId: 'user', rpm: 3, platforms: new Map([['openai', { day: nanoUsd(1n), week: null, month: null }]]) },
  group: { groupId: 'group', rpm: 2 },
};
const SUBSCRIPTION: SubscriptionLimits = {
  subscriptionId: 'sub',
  isActive: false,
  startsAtMs: 1_000,
  endsAtMs: 2_000,
  day: nanoUsd(1n),
  week: nanoUsd(2n),
  month: nanoUsd(3n),
};

function requestOf(limits: CallerLimits): HoldRequest {
  const pending = { trace_id: 't' } as HoldRequest['pending'];
  return { holdId: 'h', limits, amount: nanoUsd(70n), tokens: 9, service: 'chat', platform: 'openai', pending };
}

/** A store that answers each reservation in turn: a refusal, or admitted. */
function storeThat(...answers: readonly (Refusal | 'admits')[]) {
  const asked: HoldRequest[] = [];
  const inner = {
    reserve: (request: HoldRequest) => {
      const answer = answers[asked.length] ?? 'admits';
      asked.push(request);
      const hold = { holdId: request.holdId, amount: request.amount } as AdmittedHold;
      return Promise.resolve(
        answer === 'admits' ? { admitted: true as const, hold } : { admitted: false as const, refusal: answer },
      );
    },
    quote: () => Promise.resolve({ admitted: false as const, refusal: answers[0] }),
  };
  const metrics = new Metrics();
  return { store: new ShadowQuotaStore(inner as unknown as QuotaStore, metrics), asked, metrics };
}

async function counted(metrics: Metrics): Promise<readonly string[]> {
  const { text } = await metrics.scrape();
  return text.split('\n').filter((line) => /^(quota_check_failed|tollgate_quota_refusals_passed)_total\{/.test(line));
}

describe('shadow mode', () => {
  it('leaves an admitted call alone', async () => {
    const { store, asked, metrics } = storeThat('admits');
    expect(await store.reserve(requestOf(LIMITED))).toMatchObject({ admitted: true });
    expect(asked).toEqual([requestOf(LIMITED)]);
    expect(await counted(metrics)).toEqual([]);
  });

  it('counts what a limit refuses and reserves it again, whole, without any limit', async () => {
    const { store, asked, metrics } = storeThat(refuse('QUOTA_DAILY_EXCEEDED'));
    expect(await store.reserve(requestOf(LIMITED))).toMatchObject({ admitted: true, hold: { amount: 70n } });
    const [, again] = asked;
    expect(again).toEqual({
      ...requestOf(LIMITED),
      limits: { ...LIMITED, ...NO_LIMITS, allowances: LIMITED.allowances },
    });
    const plan = scopesOf(again?.limits ?? LIMITED, { service: 'chat', platform: 'openai', globalZone: 'UTC' });
    expect(plan.map(({ scope }) => scope)).toEqual(['allowance']);
    expect(await counted(metrics)).toEqual([
      'quota_check_failed_total{reason="QUOTA_DAILY_EXCEEDED"} 1',
      'tollgate_quota_refusals_passed_total{reason="QUOTA_DAILY_EXCEEDED"} 1',
    ]);
  });

  it('holds nothing where the balance does not suffice, under the credit limit that the tenant has', async () => {
    const short = refuse('QUOTA_BALANCE_EXCEEDED');
    const { store, asked, metrics } = storeThat(short, short);
    expect(await store.reserve(requestOf(LIMITED))).toMatchObject({ admitted: true, hold: { amount: 0n } });
    expect(asked.map(({ amount, limits }) => [amount, limits.creditLimit])).toEqual([
      [70n, 500n],
      [70n, 500n],
      [0n, 500n],
    ]);
    expect(await counted(metrics)).toContain('tollgate_quota_refusals_passed_total{reason="QUOTA_BALANCE_EXCEEDED"} 1');
  });

  it.each([
    ['over its limits and past its end', SUBSCRIPTION, 'sub'],
    ['where there is none', 'none' as const, ''],
  ])(
    'lets a key in a subscription group pay by subscription alone, also %s',
    async (_, subscription, subscriptionId) => {
      const { store, asked } = storeThat(refuse('SUBSCRIPTION_INVALID'));
      await store.reserve(requestOf({ ...LIMITED, subscription }));
      expect(asked[1]?.limits.subscription).toEqual({
        subscriptionId,
        isActive: true,
        startsAtMs: Number.NEGATIVE_INFINITY,
        endsAtMs: Number.POSITIVE_INFINITY,
        day: null,
        week: null,
        month: null,
      });
    },
  );

  it('works out a caller’s lifted limits once', async () => {
    const { store, asked } = storeThat(refuse('USER_RPM_EXCEEDED'), 'admits', refuse('USER_RPM_EXCEEDED'), 'admits');
    await store.reserve(requestOf(LIMITED));
    await store.reserve(requestOf(LIMITED));
    expect(asked[3]?.limits).toBe(asked[1]?.limits);
  });

  it('quotes what would be refused', async () => {
    const refusal = refuse('QUOTA_DAILY_EXCEEDED');
    expect(await storeThat(refusal).store.quote(requestOf(LIMITED))).toEqual({ admitted: false, refusal });
  });

  it('passes an outage on', async () => {
    const inner = { reserve: () => Promise.reject(new QuotaUnavailableError('Redis is away')) };
    const store = new ShadowQuotaStore(inner as unknown as QuotaStore, new Metrics());
    await expect(store.reserve(requestOf(LIMITED))).rejects.toThrow(QuotaUnavailableError);
  });
});
