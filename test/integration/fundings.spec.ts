import { Invariants } from '../../src/billing/invariants/invariants.service';
import { nanoUsd } from '../../src/kernel/money';
import { Metrics } from '../../src/platform/metrics/metrics';
import type { QuotaMode } from '../../src/quota/authority-row';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { ShadowQuotaStore } from '../../src/quota/shadow-quota.store';
import {
  createTenant,
  holdRequest,
  type MoneyProcess,
  ONE_NANO_A_TOKEN,
  openCharge,
  outputOf,
  reserve,
} from '../support/money-harness';
import { admitted, keyLimits, NOON_MS, QuotaStage, subscription } from './postgres-quota-stage';

describe.each<QuotaMode>(['redis', 'postgres'])('who pays a charge while %s decides', (mode) => {
  let stage: QuotaStage;
  let money: MoneyProcess;

  beforeAll(async () => {
    stage = await QuotaStage.open(mode);
    ({ money } = stage);
    stage.clock.offsetMs = NOON_MS - Date.now();
  });

  afterAll(() => stage.close());

  /** Two calls that hold 300 and cost 100 each. */
  async function twoCalls(limits: CallerLimits): Promise<readonly string[]> {
    const fundings: string[] = [];
    for (let call = 0; call < 2; call += 1) {
      const charge = await openCharge(money, limits, 300n);
      await charge.durable();
      await charge.settle(outputOf(100));
      await stage.told();
      fundings.push(charge.held.funding);
    }
    return fundings;
  }

  async function debited({ tenantId }: CallerLimits): Promise<Readonly<Record<string, string>>> {
    const { rows } = await money.pool.query<{ name: string; amount: string }>(
      `select a.name, sum(t.amount_nano_usd) as amount
         from billing_transaction b
         join ledger_transfer t on t.transaction_id = b.id
         join ledger_account a on a.id = t.debit_account_id
        where b.tenant_id = $1 and b.type = 'charge' group by a.name`,
      [tenantId],
    );
    return Object.fromEntries(rows.map(({ name, amount }) => [name, amount]));
  }

  it('is the subscription of its key alone, whose tenant keeps every cent', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), subscription({ day: nanoUsd(10_000n) }));
    expect(await twoCalls(limits)).toEqual(['subscription', 'subscription']);
    expect(await debited(limits)).toEqual({ 'granted:subscription': '200' });
    expect(await stage.available(limits)).toBe(1_000n);
  });

  it('is no tenant’s own money in shadow mode either where its key is in a subscription group without one', async () => {
    const limits: CallerLimits = { ...(await createTenant(money, nanoUsd(1_000n))), subscription: 'none' };
    const request = holdRequest(limits, 300n);
    const hold = await admitted(new ShadowQuotaStore(money.store, new Metrics()).reserve(request));
    const charge = money.charges.begin(hold, request, ONE_NANO_A_TOKEN);
    if ('code' in charge) throw new Error(charge.code);
    await charge.settle(outputOf(100));
    await stage.told();
    expect(await debited(limits)).toEqual({ 'granted:subscription': '100' });
    expect(await stage.available(limits)).toBe(1_000n);
  });

  it('is the free allowance as long as there is one, then the tenant', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), { allowances: new Map([['chat', 1]]) });
    expect(await twoCalls(limits)).toEqual(['allowance', 'wallet']);
    expect(await debited(limits)).toEqual({ 'granted:allowance': '100', wallet: '100' });
    expect(await stage.available({ ...limits, allowances: new Map() })).toBe(900n);
  });

  it('is nobody where the allowance has ended and the tenant has no money', async () => {
    const limits = await createTenant(money, nanoUsd(0n), { allowances: new Map([['chat', 2]]) });
    expect(await twoCalls(limits)).toEqual(['allowance', 'allowance']);
    expect(await reserve(money, limits, 1n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
  });

  it('is the tenant where its key has neither, within the limits of the key', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), keyLimits({ budget: nanoUsd(450n) }));
    expect(await twoCalls(limits)).toEqual(['wallet', 'wallet']);
    expect(await debited(limits)).toEqual({ wallet: '200' });
    expect(await money.store.quote(holdRequest(limits, 251n))).toMatchObject({
      refusal: { code: 'QUOTA_BUDGET_EXCEEDED' },
    });
    expect(await money.store.quote(holdRequest(limits, 250n))).toMatchObject({ admitted: true });
  });

  it('adds up', async () => {
    const results = await money.module.get(Invariants).check();
    expect(results.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
  });
});
