import { adminCall, textField } from '../factories/admin-client';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import { createUpstream } from '../factories/upstreams';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { traceIdOf } from '../support/openai-caller';
import { plainCall, type PlainAnswer } from '../support/plain-call';

let stack: GatewayStack;
let paid: PaidModel;

/** Prices that leave a rest at every rounding; the tier is reached by 101 input tokens. */
const PRICE = {
  input_usd_per_mtok: '0.333333333',
  cached_input_usd_per_mtok: '0.1',
  output_usd_per_mtok: '2.000000001',
  per_request_usd: '0.000000007',
  tiers: [
    {
      above_input_tokens: 100,
      input_usd_per_mtok: '0.777777777',
      cached_input_usd_per_mtok: '0.2',
      output_usd_per_mtok: '3.5',
    },
  ],
};

beforeAll(async () => {
  stack = await startGatewayStack();
  paid = await createPaidModel(stack.gateway, { baseUrl: `${stack.simulator.url}/v1`, price: PRICE });
  await createUpstream(stack.gateway, { provider_id: paid.providerId, model: 'unpriced' });
}, 120_000);
afterAll(() => stack.close(), 30_000);

async function keyOfGroup(multiplier: string): Promise<string> {
  const group = await adminCall(stack.gateway, 'POST', 'groups', {
    tenant_id: paid.tenantId,
    name: `times ${multiplier}`,
    price_multiplier: multiplier,
  });
  return (await createApiKey(stack.gateway, paid.tenantId, { group_id: textField(group, 'id') })).key;
}

const call = (key: string, more: object): Promise<PlainAnswer> =>
  plainCall(stack.gateway, key, {
    body: { model: 'test-model', messages: [{ role: 'user', content: 'x'.repeat(600) }], ...more },
  });

describe('a call is charged', () => {
  // By hand, nano-USD: (uncached × price + cached × price + output × price) / 10⁶ + 7, times the multiplier, rounded up.
  it.each([
    // 50 × 333.333333 + 50 × 100 + 3 × 2000.000001 + 7 = 16,666.66665 + 5,000 + 6,000.000003 + 7 = 27,673.666653
    ['the price of its length', '1', 100, 50, 3, 27_674n],
    // × 0.85 = 23,522.61665505
    ['its group’s share of it', '0.85', 100, 50, 3, 23_523n],
    // 51 × 777.777777 + 50 × 200 + 3 × 3500 + 7 = 39,666.666627 + 10,000 + 10,500 + 7 = 60,173.666627
    ['the longer length’s, for every token', '1', 101, 50, 3, 60_174n],
    // × 1.00001 = 60,174.26836366627; × 0.000001 = 0.060173666627
    ['as exactly as the multiplier says', '1.00001', 101, 50, 3, 60_175n],
    ['never nothing', '0.000001', 101, 50, 3, 1n],
  ])('%s (times %s)', async (_, multiplier, promptTokens, cachedTokens, tokens, expected) => {
    const key = multiplier === '1' ? paid.key : await keyOfGroup(multiplier);
    for (const stream of [false, true]) {
      const answer = await call(key, { stream, x_simulate: { promptTokens, cachedTokens, tokens } });
      expect(answer.status).toBe(200);
      const charge = await stack.book.ended(traceIdOf(answer));
      expect([charge.status, charge.amountNanoUsd, charge.transferredNanoUsd]).toEqual([
        'COMMITTED',
        expected,
        expected,
      ]);
      expect(charge.holdNanoUsd).toBeGreaterThanOrEqual(expected);
    }
  });

  it('by the multiplier its group had when it was admitted, the next one by the new', async () => {
    const group = await adminCall(stack.gateway, 'POST', 'groups', { tenant_id: paid.tenantId, name: 'changing' });
    const { key } = await createApiKey(stack.gateway, paid.tenantId, { group_id: textField(group, 'id') });
    const short = { x_simulate: { promptTokens: 100, cachedTokens: 50, tokens: 3 } };
    const before = await stack.book.ofModel('test-model');
    // Its head is held back until the group has changed.
    const running = call(key, { x_simulate: { ...short.x_simulate, tag: 'running', headersDelayMs: 1_500 } });
    await stack.book.admittedOfModel('test-model', before.length + 1);
    await adminCall(stack.gateway, 'PATCH', `groups/${textField(group, 'id')}`, { price_multiplier: '2' });
    const answers = [await running, await call(key, short)];
    const amounts = await Promise.all(answers.map((answer) => stack.book.ended(traceIdOf(answer))));
    expect(amounts.map(({ amountNanoUsd }) => amountNanoUsd)).toEqual([27_674n, 55_348n]);
  });
});

describe('a model without a price', () => {
  it('is refused, unless the tenant’s policy serves it free: then the row says that no price was in force', async () => {
    const rejecting = await createApiKey(stack.gateway, await createTenant(stack.gateway));
    const refused = await call(rejecting.key, { model: 'unpriced' });
    expect([refused.status, refused.json]).toMatchObject([
      400,
      { error: { code: 'MODEL_NOT_PRICED', param: 'model' } },
    ]);
    const serving = await createTenant(stack.gateway, { unknown_price_policy: 'free', initial_balance_usd: '0' });
    const { key } = await createApiKey(stack.gateway, serving);
    for (const stream of [false, true]) {
      const answer = await call(key, { model: 'unpriced', stream, x_simulate: { promptTokens: 90, tokens: 7 } });
      expect(answer.status).toBe(200);
      expect(await stack.book.ended(traceIdOf(answer))).toMatchObject({
        status: 'COMMITTED',
        amountNanoUsd: 0n,
        tokens: { input_uncached: 90, output: 7 },
      });
    }
    const list = await adminCall(stack.gateway, 'GET', `transactions?tenant_id=${serving}`);
    const { data } = list as { data: { price_version: unknown }[] };
    expect(data.map(({ price_version: version }) => version)).toEqual([null, null]);
  });

  it('has the policy of the moment it was admitted: a price that comes meanwhile is for the next call', async () => {
    const model = 'priced-soon';
    await createUpstream(stack.gateway, { provider_id: paid.providerId, model });
    const tenantId = await createTenant(stack.gateway, { unknown_price_policy: 'free' });
    const { key } = await createApiKey(stack.gateway, tenantId);
    const running = call(key, { model, x_simulate: { headersDelayMs: 1_500 } });
    await stack.book.admittedOfModel(model);
    await adminCall(stack.gateway, 'POST', 'prices', { model, input_usd_per_mtok: '1', output_usd_per_mtok: '1' });
    const [before, after] = [await running, await call(key, { model })];
    const charges = await Promise.all([before, after].map((answer) => stack.book.ended(traceIdOf(answer))));
    expect(charges[0]?.amountNanoUsd).toBe(0n);
    expect(charges[1]?.amountNanoUsd).toBeGreaterThan(0n);
  });
});

it('is documented with what its lists are made of', async () => {
  const response = await fetch(`${stack.gateway.url}/docs-json`);
  const { paths, components } = (await response.json()) as {
    paths: Record<string, unknown>;
    components: { schemas: Record<string, { properties: Record<string, { items?: unknown; allOf?: unknown }> }> };
  };
  expect(Object.keys(paths)).toEqual(
    expect.arrayContaining(['/admin/v1/prices', '/admin/v1/prices/preview', '/admin/v1/prices/import']),
  );
  const itemsOf = (schema: string, property: string): unknown =>
    components.schemas[schema]?.properties[property]?.items;
  const ref = (schema: string): object => ({ $ref: `#/components/schemas/${schema}` });
  expect(itemsOf('CreatePriceDto', 'tiers')).toEqual(ref('CreatePriceTierDto'));
  expect(itemsOf('PriceDto', 'tiers')).toEqual(ref('PriceTierDto'));
  expect(itemsOf('PricePreviewDto', 'models')).toEqual(ref('PreviewedModelDto'));
  expect(itemsOf('PreviewedModelDto', 'changes')).toEqual(ref('PriceChangeDto'));
  expect(itemsOf('PreviewedModelDto', 'findings')).toEqual(ref('PriceFindingDto'));
  expect(itemsOf('PriceImportDto', 'imported')).toEqual(ref('ImportedPriceDto'));
  expect(itemsOf('PreviewPricesDto', 'providers')).toEqual({ type: 'string' });
  expect(Object.keys(components.schemas.PriceTierDto?.properties ?? {})).toEqual(
    expect.arrayContaining(['above_input_tokens', 'input_usd_per_mtok', 'image_usd_per_mtok']),
  );
  expect(components.schemas.UpstreamDto?.properties).toHaveProperty('cost_cache_write_usd_per_mtok');
  expect(components.schemas.GroupDto?.properties).toHaveProperty('price_multiplier');
});

it('leaves every invariant standing', async () => {
  expect(await brokenInvariants(stack.gateway)).toEqual([]);
});
