import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import type { ControlPlane } from '../../../test/support/control-plane-harness';
import { type Plan, ReRatingStage } from '../../../test/support/re-rating-stage';
import { ProjectionQueue } from '../../billing/settlement/projection-queue';
import type { FrozenPrice, TokenCounts } from '../../catalogue/price';
import { newId } from '../../kernel/ids';

describe('past charges at another price, once they are booked', () => {
  let stage: ReRatingStage;
  let plane: ControlPlane;
  let model: string;

  beforeAll(async () => {
    stage = await ReRatingStage.open();
    ({ plane } = stage);
  });
  beforeEach(() => {
    model = `model-${newId()}`;
  });
  afterEach(() => jest.restoreAllMocks());
  afterAll(() => stage.close());

  const price = (perToken: { input: number; output: number }, fields: object = {}): Promise<FrozenPrice> =>
    stage.price(model, perToken, fields);
  const charge = (tenantId: string, at: FrozenPrice, tokens: Partial<TokenCounts>, row: object = {}): Promise<string> =>
    stage.charge(tenantId, at, tokens, { model, ...row });
  const planOf = (to: FrozenPrice, fields: object = {}): Promise<Plan> => stage.plan(model, to, fields);

  it('are given back by credit notes where they were too dear, as the dry run showed and once', async () => {
    const acme = await plane.newTenant({ initial_balance_usd: '0.000001' });
    const old = await price({ input: 10, output: 40 });
    const id = await charge(acme, old, { output: 10 });
    const cheaper = await price({ input: 10, output: 30 });
    const plan = await planOf(cheaper);
    const late = await charge(acme, old, { output: 2 });
    const told = jest.spyOn(plane.app.get(ProjectionQueue), 'tell');
    const applied = await stage.apply(plan);
    expect(applied).toMatchObject({
      status: 'applied',
      totals: { credited_usd: '0.000000100', remaining: 0 },
      data: [{ charge_id: id, booked_usd: '0.000000100', refusal: null }],
    });
    expect(told).toHaveBeenCalledWith(acme, { posted: 620n, version: expect.any(BigInt) as unknown });
    expect(await stage.linkedTo(id)).toEqual([
      {
        type: 'credit_note',
        amount: 100,
        reason_code: 'RE_RATED',
        description: `re-rated from price ${old.version ?? ''} to ${cheaper.version ?? ''} (${plan.id})`,
      },
    ]);
    expect(await stage.linkedTo(late)).toEqual([]);
    expect(await stage.balances(acme)).toEqual({ wallet: '620', overrun: '0' });
    const before = await stage.written();
    expect(await stage.apply(plan)).toEqual(applied);
    expect((await planOf(cheaper)).data.map(({ charge_id }) => charge_id)).toEqual([late]);
    expect(await stage.written()).toEqual(before);
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=re_rating&entity_id=${plan.id}`);
    expect(log.data).toMatchObject([
      { action: 're_rating.apply', after: { model, totals: { credit_due_usd: '0.000000100' } } },
    ]);
    await stage.expectProof();
  });

  it('that were too cheap are reported, and debited only where that is asked for: wallet, then overrun', async () => {
    const acme = await plane.newTenant({ initial_balance_usd: '0.00000012', credit_limit_usd: '0.00000001' });
    const old = await price({ input: 0, output: 10 });
    const id = await charge(acme, old, { output: 10 }, { credit_limit_nano_usd: '10' });
    const granted = await charge(acme, old, { output: 10 }, { funding: 'subscription' });
    const dearer = await price({ input: 0, output: 15 });
    const reported = await planOf(dearer);
    expect(reported.totals).toMatchObject({ differing: 2, undercharged_usd: '0.000000100', remaining: 0 });
    expect(await stage.apply(reported)).toMatchObject({ status: 'applied', totals: { debited_usd: '0.000000000' } });
    expect(await stage.balances(acme)).toEqual({ wallet: '20', overrun: '0' });

    const asked = await planOf(dearer, { charge_differences: true });
    expect(asked.totals).toMatchObject({ undercharged_usd: '0.000000100', debit_due_usd: '0.000000050', remaining: 1 });
    expect(await stage.apply(asked)).toMatchObject({ status: 'applied', totals: { debited_usd: '0.000000050' } });
    expect(await stage.balances(acme)).toEqual({ wallet: '-10', overrun: '-20' });
    expect(await stage.linkedTo(id)).toMatchObject([{ type: 'adjustment', amount: -50, reason_code: 'RE_RATED' }]);
    expect(await stage.linkedTo(granted)).toEqual([]);
    await stage.expectProof();

    // Back again: what was debited is part of what the charge came to.
    const back = await planOf(old, { charge_differences: true });
    expect(back.data).toMatchObject([{ charge_id: id, rated_usd: '0.000000150', re_rated_usd: '0.000000100' }]);
    await stage.apply(back);
    expect(await stage.balances(acme)).toEqual({ wallet: '20', overrun: '0' });
    await stage.expectProof();
  });

  it('give back no more than refunds have left, whether they came before the dry run or after it', async () => {
    const acme = await plane.newTenant({ initial_balance_usd: '0.000001' });
    const old = await price({ input: 0, output: 10 });
    const [whole, part, late] = [
      await charge(acme, old, { output: 10 }),
      await charge(acme, old, { output: 10 }),
      await charge(acme, old, { output: 10 }),
    ];
    const refund = (id: string, fields: object = {}): Promise<unknown> =>
      plane.expectAdmin(201, 'POST', `transactions/${id}/refunds`, { reason_code: 'GOODWILL', ...fields });
    await refund(whole);
    await refund(part, { amount_usd: '0.00000008' });
    const plan = await planOf(await price({ input: 0, output: 5 }));
    expect(plan.data).toMatchObject([
      { charge_id: whole, due_usd: '0.000000000' },
      { charge_id: part, due_usd: '0.000000020' },
      { charge_id: late, due_usd: '0.000000050' },
    ]);
    await refund(late, { amount_usd: '0.00000007' });
    expect((await stage.apply(plan)).data.map(({ booked_usd }) => booked_usd)).toEqual([
      null,
      '0.000000020',
      '0.000000030',
    ]);
    expect(await stage.balances(acme)).toEqual({ wallet: '1000', overrun: '0' });
    await stage.expectProof();
  });

  it('are given back once by two plans of the same, and by two who apply one at once', async () => {
    const acme = await plane.newTenant({ initial_balance_usd: '0.00001' });
    const old = await price({ input: 0, output: 10 });
    for (let call = 0; call < 30; call += 1) await charge(acme, old, { output: 10 });
    const cheaper = await price({ input: 0, output: 9 });
    const [one, same] = [await planOf(cheaper), await planOf(cheaper)];
    await Promise.all([stage.apply(one), stage.apply(one), stage.apply(same), stage.apply(same)]);
    const [first, second] = [await stage.apply(one), await stage.apply(same)];
    const credited = [first, second].reduce((sum, { totals }) => sum + Number(totals.credited_usd) * 1e9, 0);
    expect([first.status, second.status, Math.round(credited)]).toEqual(['applied', 'applied', 300]);
    expect(await stage.balances(acme)).toEqual({ wallet: '7300', overrun: '0' });
    await stage.expectProof();
  });

  it('are applied where an earlier try died, as whole lines, and nothing twice', async () => {
    const acme = await plane.newTenant({ initial_balance_usd: '0.00001' });
    const old = await price({ input: 0, output: 10 });
    for (let call = 0; call < 45; call += 1) await charge(acme, old, { output: 10 });
    const plan = await planOf(await price({ input: 0, output: 9 }));
    const owner = new Client({ connectionString: plane.database.url });
    await owner.connect();
    try {
      // The 25th note of all attempts fails: the first 20 stand by then.
      await owner.query(`
        create sequence notes;
        create function lose_note() returns trigger language plpgsql security definer as
          $$ begin if nextval('notes') = 25 then raise exception 'lost' using errcode = 'XX000'; end if; return new; end $$;
        create trigger lose_note before insert on billing_transaction
          for each row when (new.type = 'credit_note') execute function lose_note()`);
      expect((await stage.reRate({ dry_run: false, plan_id: plan.id })).status).toBe(500);
      const left = await plane.expectAdmin(200, 'GET', `prices/re-rate/${plan.id}`);
      expect(left).toMatchObject({ status: 'applying', totals: { credited_usd: '0.000000200', remaining: 25 } });
      expect(await stage.balances(acme)).toMatchObject({ wallet: String(10_000 - 4_500 + 200) });
      await stage.expectProof();
      expect(await stage.apply(plan)).toMatchObject({ status: 'applied', totals: { credited_usd: '0.000000450' } });
    } finally {
      await owner.query('drop trigger if exists lose_note on billing_transaction');
      await owner.end();
    }
    expect(await stage.balances(acme)).toEqual({ wallet: String(10_000 - 4_500 + 450), overrun: '0' });
    await stage.expectProof();
  });

  it('go on where one cannot be given back, and say why', async () => {
    const [full, acme] = [
      await plane.newTenant({ initial_balance_usd: '1' }),
      await plane.newTenant({ initial_balance_usd: '1' }),
    ];
    const old = await price({ input: 0, output: 10 });
    const [refused, given] = [await charge(full, old, { output: 10 }), await charge(acme, old, { output: 10 })];
    const fill = { amount_usd: '8999999.0000001', reason_code: 'TEST', description: 'to the bound' };
    await plane.expectAdmin(201, 'POST', `tenants/${full}/adjustments`, fill);
    const plan = await planOf(await price({ input: 0, output: 5 }));
    const applied = await stage.apply(plan);
    expect(applied).toMatchObject({ status: 'applied', totals: { refused: 1, credited_usd: '0.000000050' } });
    expect(applied.data).toMatchObject([
      { charge_id: refused, booked_usd: '0.000000000', refusal: expect.stringContaining('9,000,000') as unknown },
      { charge_id: given, booked_usd: '0.000000050', refusal: null },
    ]);
    await stage.expectProof();
  });

  it('are debited nothing where a refund took them back whole, before the dry run or after it', async () => {
    const acme = await plane.newTenant({ initial_balance_usd: '0.000001' });
    const old = await price({ input: 0, output: 10 });
    const [before, after] = [await charge(acme, old, { output: 10 }), await charge(acme, old, { output: 10 })];
    const refund = (id: string): Promise<unknown> =>
      plane.expectAdmin(201, 'POST', `transactions/${id}/refunds`, { reason_code: 'GOODWILL' });
    await refund(before);
    const plan = await planOf(await price({ input: 0, output: 15 }), { charge_differences: true });
    expect(plan.data).toMatchObject([
      { charge_id: before, due_usd: '0.000000000' },
      { charge_id: after, due_usd: '-0.000000050' },
    ]);
    await refund(after);
    expect(await stage.apply(plan)).toMatchObject({ status: 'applied', totals: { debited_usd: '0.000000000' } });
    expect(await stage.balances(acme)).toEqual({ wallet: '1000', overrun: '0' });
    await stage.expectProof();
  });

  it('have their corrections among them, by the time of the call', async () => {
    const acme = await plane.newTenant({ initial_balance_usd: '0.000001' });
    const old = await price({ input: 0, output: 10 });
    const swept = await charge(acme, old, { output: 1 });
    await plane.expectAdmin(201, 'POST', `transactions/${swept}/refunds`, { reason_code: 'GOODWILL' });
    const id = randomUUID();
    const row = { id, type: 'correction', original_transaction_id: swept } as const;
    await charge(acme, old, { output: 10 }, row);
    const plan = await planOf(await price({ input: 0, output: 9 }));
    expect(await stage.apply(plan)).toMatchObject({ totals: { differing: 2, credited_usd: '0.000000010' } });
    expect(await stage.linkedTo(id)).toMatchObject([{ type: 'credit_note', amount: 10 }]);
    expect(await stage.balances(acme)).toEqual({ wallet: '910', overrun: '0' });
    await stage.expectProof();
  });
});
