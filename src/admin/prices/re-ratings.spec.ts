import { setTimeout as pause } from 'node:timers/promises';
import { type ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { type Plan, ReRatingStage, WHOLE_TIME } from '../../../test/support/re-rating-stage';
import type { FrozenPrice, TokenCounts } from '../../catalogue/price';
import { newId } from '../../kernel/ids';

describe('past charges at another price', () => {
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
  afterAll(() => stage.close());

  const price = (perToken: { input: number; output: number }, fields: object = {}): Promise<FrozenPrice> =>
    stage.price(model, perToken, fields);
  const charge = (tenantId: string, at: FrozenPrice, tokens: Partial<TokenCounts>, row: object = {}): Promise<string> =>
    stage.charge(tenantId, at, tokens, { model, ...row });
  const planOf = (to: FrozenPrice, fields: object = {}): Promise<Plan> => stage.plan(model, to, fields);

  it('are computed by a dry run, which books nothing, from the tokens and the multiplier of each', async () => {
    const [acme, other] = [await plane.newTenant({ initial_balance_usd: '1' }), await plane.newTenant()];
    const old = await price({ input: 10, output: 40 });
    const plain = await charge(acme, old, { inputUncached: 7, output: 3 });
    const dearer = await charge(acme, { ...old, multiplierMillionths: 1_500_000n }, { inputUncached: 7, output: 3 });
    await charge(other, old, { output: 1 });
    await charge(acme, old, { output: 5 }, { model: 'another model' });
    const cheaper = await price({ input: 5, output: 40 });
    const before = await stage.written();
    const plan = await planOf(cheaper);
    expect(plan).toMatchObject({
      object: 're_rating',
      model,
      from: '2020-01-01T00:00:00.000Z',
      price_version: cheaper.version,
      tenant_id: null,
      charge_differences: false,
      applying_since: null,
      totals: {
        charges: 3,
        differing: 2,
        overcharged_usd: '0.000000087',
        undercharged_usd: '0.000000000',
        credit_due_usd: '0.000000087',
        debit_due_usd: '0.000000000',
        credited_usd: '0.000000000',
        remaining: 2,
        refused: 0,
      },
      // 7 × 10 + 3 × 40 = 190 and 7 × 5 + 3 × 40 = 155; × 1.5: 285 and 232.5, rounded up.
      data: [
        { charge_id: plain, old_price_version: old.version, rated_usd: '0.000000190', re_rated_usd: '0.000000155' },
        { charge_id: dearer, rated_usd: '0.000000285', re_rated_usd: '0.000000233', due_usd: '0.000000052' },
      ],
      has_more: false,
    });
    expect(await planOf(cheaper, { tenant_id: other })).toMatchObject({ totals: { charges: 1, differing: 0 } });
    expect(await stage.written()).toEqual(before);
  });

  it('are those of the range, to the instant of their admission', async () => {
    const acme = await plane.newTenant({ initial_balance_usd: '1' });
    const old = await price({ input: 0, output: 40 });
    const ids: string[] = [];
    const starts: string[] = [];
    for (let call = 0; call < 3; call += 1) {
      starts.push(new Date().toISOString());
      ids.push(await charge(acme, old, { output: 1 }));
      await pause(2);
    }
    const cheaper = await price({ input: 0, output: 39 });
    const plan = await planOf(cheaper, { from: starts[1], to: starts[2] });
    expect(plan.data.map(({ charge_id }) => charge_id)).toEqual([ids[1]]);
  });

  it('take the tier of a price that a call is long enough for', async () => {
    const acme = await plane.newTenant({ initial_balance_usd: '1' });
    const old = await price({ input: 10, output: 40 });
    const [short, long] = [
      await charge(acme, old, { inputCached: 100 }),
      await charge(acme, old, { inputCached: 101 }),
    ];
    const tier = { above_input_tokens: 100, input_usd_per_mtok: '0.008', output_usd_per_mtok: '0.008' };
    const plan = await planOf(await price({ input: 9, output: 9 }, { tiers: [tier] }));
    expect(plan.data).toMatchObject([
      { charge_id: short, re_rated_usd: '0.000000900' },
      { charge_id: long, re_rated_usd: '0.000000808' },
    ]);
  });

  it('are listed a page at a time, and applied five hundred a request', async () => {
    const acme = await plane.newTenant({ initial_balance_usd: '1' });
    const old = await price({ input: 0, output: 10 });
    const ids = await Promise.all(Array.from({ length: 501 }, () => charge(acme, old, { output: 1 })));
    const plan = await planOf(await price({ input: 0, output: 9 }));
    expect([plan.totals.charges, plan.data.length]).toEqual([501, 20]);
    const seen = plan.data.map(({ charge_id }) => charge_id);
    for (let after = plan.next_cursor; after !== null;) {
      const page = await plane.expectAdmin(200, 'GET', `prices/re-rate/${plan.id}?limit=100&after=${after}`);
      seen.push(...(page as unknown as Plan).data.map(({ charge_id }) => charge_id));
      after = (page as unknown as Plan).next_cursor;
    }
    expect(seen).toEqual(ids.toSorted());
    expect(await stage.apply(plan)).toMatchObject({ status: 'applying', totals: { remaining: 1 } });
    expect(await stage.apply(plan)).toMatchObject({ status: 'applied', totals: { credited_usd: '0.000000501' } });
    await stage.expectProof();
  }, 60_000);

  it('are found past a page of rows of other models', async () => {
    const acme = await plane.newTenant();
    const old = await price({ input: 0, output: 10 });
    const first = await charge(acme, old, { output: 1 });
    await plane.query(
      `insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, model, ended_at)
       select ('01' || lpad(to_hex(n), 6, '0') || '-0000-7000-8000-000000000000')::uuid, $1, gen_random_uuid(), 'charge',
              'VOIDED', 'external', 'other', now() from generate_series(1, 12000) n`,
      [acme],
    );
    const plan = await planOf(await price({ input: 0, output: 9 }), { from: '1980-01-01T00:00:00Z' });
    expect(plan.data.map(({ charge_id }) => charge_id)).toEqual([first]);
  });

  it('are not re-rated where the question is wrong', async () => {
    const mine = await price({ input: 0, output: 10 });
    const myModel = model;
    model = `model-${newId()}`;
    const others = await price({ input: 0, output: 10 });
    model = myModel;
    const question = { model, ...WHOLE_TIME, price_version: mine.version };
    const { id } = await planOf(mine);
    const cases: readonly (readonly [object, number, string | null, RegExp])[] = [
      [{ ...question, price_version: others.version }, 400, 'price_version', /no price of this model/],
      [{ ...question, price_version: '999999999' }, 400, 'price_version', /no price of this model/],
      [{ ...question, model: undefined }, 400, 'model', /must be given/],
      [{ ...question, from: WHOLE_TIME.to }, 400, 'to', /after from/],
      [{ ...question, to: '2026-01-01' }, 400, 'to', /zone/],
      [{ ...question, tenant_id: newId() }, 400, 'tenant_id', /no such tenant/],
      [{ ...question, plan_id: id }, 400, 'plan_id', /dry_run: false/],
      [{ ...question, dry_run: false }, 400, 'plan_id', /id of the dry run/],
      [{ ...question, dry_run: 'no' }, 400, 'dry_run', /boolean/],
      [{ dry_run: false, plan_id: newId() }, 404, null, /re-rating/],
      [{ ...question, dry_run: false, plan_id: id, model: 'other' }, 409, 'model', /another one/],
      [{ ...question, dry_run: false, plan_id: id, to: '2099-01-01T00:00:00Z' }, 409, 'to', /another one/],
      [{ dry_run: false, plan_id: id, charge_differences: true }, 409, 'charge_differences', /another one/],
    ];
    for (const [body, status, param, message] of cases) {
      const answer = await stage.reRate(body);
      expect([body, answer.status, errorOf(answer).param]).toEqual([body, status, param]);
      expect(errorOf(answer).message).toMatch(message);
    }
    const same = await stage.reRate({ ...question, to: '2100-01-01T01:00:00+01:00', dry_run: false, plan_id: id });
    expect([same.status, textOf(same.body, 'status')]).toEqual([200, 'applied']);
  });
});
