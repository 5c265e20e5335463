import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { newId } from '../../src/kernel/ids';
import { type NanoUsd, nanoUsd } from '../../src/kernel/money';
import type { AdmittedHold, EndedHold, PostedBalance } from '../../src/quota/quota-store.port';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import { type CallerLimits, NO_LIMITS } from '../../src/quota/scopes/caller-limits';
import { createTenant, holdRequest, type MoneyProcess, reserve } from '../support/money-harness';
import { admitted, NOON_MS, QuotaStage } from './postgres-quota-stage';

const POSTED = 1_000_000n;
const ROOM = nanoUsd(500_000n);

/** Every kind of scope, in one caller. */
function everyScope(): Partial<CallerLimits> {
  const [apiKeyId, userId, groupId] = [newId(), newId(), newId()];
  return {
    ...NO_LIMITS,
    ...{ dailyQuota: 100, monthlyQuota: 100, rpm: 100, tpm: 1_000_000, concurrency: 100 },
    allowances: new Map(),
    key: { apiKeyId, budget: ROOM, usd5h: ROOM, usd1d: ROOM, usd7d: ROOM },
    user: { userId, rpm: 100, platforms: new Map([['openai', { day: ROOM, week: ROOM, month: ROOM }]]) },
    group: { groupId, rpm: 100 },
  };
}

describe('ending holds in the projection', () => {
  let stage: QuotaStage;
  let money: MoneyProcess;
  let limits: CallerLimits;
  let version: bigint;

  beforeAll(async () => {
    stage = await QuotaStage.open('redis');
    ({ money } = stage);
  });

  afterAll(() => stage.close());

  beforeEach(async () => {
    stage.clock.offsetMs = NOON_MS - Date.now();
    limits = await createTenant(money, nanoUsd(POSTED), everyScope());
    await money.module.get(ProjectionQueue).drain(15_000);
    version = 1n;
  });

  const take = (amount: bigint, tokens = 1_000): Promise<AdmittedHold> =>
    admitted(money.store.reserve(holdRequest(limits, amount, { tokens })));

  const costs = ({ holdId }: AdmittedHold, amount: bigint, tokens = 100): EndedHold => ({
    holdId,
    amount: nanoUsd(amount),
    tokens,
  });

  const balance = (posted: bigint): PostedBalance => ({ posted: nanoUsd(posted), version: (version += 1n) });

  const settle = (ended: readonly EndedHold[], posted: PostedBalance): Promise<void> =>
    money.store.settle(limits.tenantId, ended, posted);

  const release = (...holds: readonly AdmittedHold[]): Promise<void> =>
    money.store.release(
      limits.tenantId,
      holds.map(({ holdId }) => holdId),
    );

  /** All there is of the tenant, windows by use alone, rolling counters by the sum of their seconds. */
  async function projected(): Promise<Readonly<Record<string, string | number>>> {
    const { client } = money.redis;
    const { held, posted, version: known, ...state } = await client.hgetall(quotaKey(limits.tenantId));
    const used: Record<string, string | number> = { held: held ?? '', posted: posted ?? '', version: known ?? '' };
    for (const [field, text] of Object.entries(state)) {
      if (field.startsWith('c:')) used[nameOf(field.slice(2))] = text.split(':')[2] ?? '';
    }
    for (const key of await client.keys(`tg:{${limits.tenantId}}:rate:*`)) {
      const { at, sum, ...seconds } = await client.hgetall(key);
      const total = Object.values(seconds).reduce((all, count) => all + Number(count), 0);
      expect({ at, total }).toEqual({ at, total: Number(sum) });
      used[nameOf(key.split(':rate:')[1] ?? '')] = total;
    }
    return { ...used, holds: await client.hlen(holdsKey(limits.tenantId)) };
  }

  /** Counters are named by ids, which differ from run to run. */
  const nameOf = (counter: string): string =>
    counter.replaceAll(/[0-9a-f-]{36}/g, (id) => {
      if (id === limits.key?.apiKeyId) return 'K';
      return id === limits.user?.userId ? 'U' : 'G';
    });

  /** What stands when so many requests came to so much, and `heldNow` is still open with so many tokens. */
  function standing(
    requests: number,
    costNanoUsd: bigint,
    tokens: number,
    [heldNow, openHolds]: readonly [bigint, number] = [0n, 0],
  ): Readonly<Record<string, string | number>> {
    const usd = (costNanoUsd + heldNow).toString();
    return {
      ...{ held: heldNow.toString(), posted: (POSTED - costNanoUsd).toString(), version: version.toString() },
      ...{ day: String(requests), month: String(requests), rpm: requests, tpm: tokens, holds: openHolds },
      ...{ 'key:K:budget': usd, 'key:K:5h': usd, 'key:K:1d': usd, 'key:K:7d': usd },
      ...{ 'user:U:openai:day': usd, 'user:U:openai:week': usd, 'user:U:openai:30d': usd },
      ...{ 'group:G:U': requests, 'user:U:rpm': requests },
    };
  }

  it('corrects every scope from what was held to what it cost: money, requests and tokens', async () => {
    const hold = await take(3_000n);
    expect(await projected()).toEqual(standing(1, 0n, 1_000, [3_000n, 1]));
    await settle([costs(hold, 1_200n, 400)], balance(POSTED - 1_200n));
    expect(await projected()).toEqual(standing(1, 1_200n, 400));
  });

  it('counts more than was held where that is what it cost', async () => {
    const hold = await take(3_000n);
    await settle([costs(hold, 5_000n, 9_000)], balance(POSTED - 5_000n));
    expect(await projected()).toEqual(standing(1, 5_000n, 9_000));
  });

  it('gives every scope back what a voided charge counted', async () => {
    const [hold, other] = [await take(3_000n), await take(200n, 7)];
    await release(hold);
    expect(await projected()).toEqual(standing(1, 0n, 7, [200n, 1]));
    await release(other);
    expect(await projected()).toEqual(standing(0, 0n, 0));
  });

  it('changes nothing the second time', async () => {
    const [settled, released] = [await take(3_000n), await take(700n)];
    const posted = balance(POSTED - 1_200n);
    for (let time = 0; time < 2; time += 1) {
      await settle([costs(settled, 1_200n)], posted);
      await release(released);
    }
    expect(await projected()).toEqual(standing(1, 1_200n, 100));
  });

  it('ends each hold once where the same endings arrive many times at once', async () => {
    const holds = await Promise.all([100n, 200n, 300n, 400n].map((amount) => take(amount)));
    const [first, second, third, fourth] = holds;
    if (!first || !second || !third || !fourth) throw new Error('four were reserved');
    const posted = balance(POSTED - 30n);
    await Promise.all(
      Array.from({ length: 10 }, () => [
        settle([costs(first, 10n), costs(second, 20n)], posted),
        release(third, fourth),
      ]).flat(),
    );
    expect(await projected()).toEqual(standing(2, 30n, 200));
  });

  it('changes nothing for a hold it does not know', async () => {
    const unknown = { ...(await take(3_000n)), holdId: newId() };
    const before = await projected();
    await release(unknown);
    await settle([costs(unknown, 500n)], { posted: nanoUsd(POSTED), version });
    expect(await projected()).toEqual(before);
  });

  it.each(['release after settle', 'settle after release'])(
    'lets the first ending of a hold stand: %s',
    async (order) => {
      const hold = await take(3_000n);
      const posted = balance(POSTED - 1_200n);
      if (order === 'release after settle') {
        await settle([costs(hold, 1_200n)], posted);
        await release(hold);
        expect(await projected()).toEqual(standing(1, 1_200n, 100));
      } else {
        await release(hold);
        await settle([costs(hold, 1_200n)], posted);
        // The balance is the ledger's, whatever became of the hold.
        expect(await projected()).toEqual({ ...standing(0, 0n, 0), posted: (POSTED - 1_200n).toString() });
      }
    },
  );

  it('keeps the newest balance where endings arrive out of order, and every one corrects its own hold', async () => {
    const [first, second] = [await take(3_000n), await take(3_000n)];
    const [older, newer] = [balance(POSTED - 1_000n), balance(POSTED - 3_000n)];
    await settle([costs(second, 2_000n)], newer);
    expect(await projected()).toMatchObject({ posted: (POSTED - 3_000n).toString(), holds: 1 });
    await settle([costs(first, 1_000n)], older);
    expect(await projected()).toEqual(standing(2, 3_000n, 200));
  });

  it('leaves a window alone that has passed, and gives back to one that has not', async () => {
    const hold = await take(3_000n);
    // Past midnight, and past the end of every window that began with the first use but the longest.
    stage.clock.offsetMs += 30 * 3_600_000;
    const later = await take(500n);
    const before = await projected();
    expect(before).toMatchObject({ day: '1', month: '2', 'key:K:5h': '500', 'key:K:1d': '500', 'key:K:7d': '3500' });
    await settle([costs(hold, 1_200n)], balance(POSTED - 1_200n));
    expect(await projected()).toMatchObject({
      ...{ held: '500', day: '1', month: '2' },
      ...{ 'key:K:budget': '1700', 'key:K:5h': '500', 'key:K:1d': '500', 'key:K:7d': '1700' },
      ...{ 'user:U:openai:day': '500', 'user:U:openai:week': '1700', 'user:U:openai:30d': '1700' },
    });
    await release(later);
    expect(await projected()).toMatchObject({ held: '0', day: '0', month: '1', 'key:K:5h': '0', 'key:K:7d': '1200' });
  });

  it('leaves the tokens of a minute alone that has passed', async () => {
    const hold = await take(3_000n, 900);
    stage.clock.offsetMs += 61_000;
    const later = await take(500n, 30);
    await settle([costs(hold, 1_200n, 100)], balance(POSTED - 1_200n));
    expect(await projected()).toMatchObject({ rpm: 1, tpm: 30 });
    await release(later);
    expect(await projected()).toMatchObject({ rpm: 0, tpm: 0 });
  });

  it('makes room at once: what a settled call did not use may be used', async () => {
    limits = await createTenant(money, nanoUsd(POSTED), { tpm: 1_000, key: keyWithBudget(1_000n) });
    version = 1n;
    const hold = await take(1_000n, 1_000);
    expect(await reserve(money, limits, 1n)).toMatchObject({ refusal: { code: 'TENANT_TPM_EXCEEDED' } });
    await settle([costs(hold, 400n, 400)], balance(POSTED - 400n));
    expect(await reserve(money, limits, 601n)).toMatchObject({ admitted: false });
    expect(await reserve(money, limits, 600n)).toMatchObject({ admitted: true });
  });
});

function keyWithBudget(budget: bigint): CallerLimits['key'] {
  const unlimited: NanoUsd | null = null;
  return { apiKeyId: newId(), budget: nanoUsd(budget), usd5h: unlimited, usd1d: unlimited, usd7d: unlimited };
}
