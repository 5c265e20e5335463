import { randomUUID } from 'node:crypto';
import { adminCall } from '../factories/admin-client';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { traceIdOf } from '../support/openai-caller';
import { metricOf, plainCall, type PlainAnswer } from '../support/plain-call';

/** Costs 90 × 1 + 5 × 2 USD a million: 0.0001 USD. */
const CHAT = {
  model: 'test-model',
  messages: [{ role: 'user', content: 'Hello' }],
  max_completion_tokens: 50,
  x_simulate: { promptTokens: 90, tokens: 5 },
};
const COST_NANO_USD = 100_000n;

interface Balance {
  readonly posted_usd: string;
  readonly available_usd: string;
  readonly held_usd: string;
  readonly overrun_usd: string;
}

let stack: GatewayStack;
let paid: PaidModel;

async function tenantWith(tenant: object, key: object = {}): Promise<{ tenantId: string; key: string }> {
  const unlimited = { daily_quota: null, monthly_quota: null, timezone: 'UTC' };
  const tenantId = await createTenant(stack.gateway, { ...unlimited, ...tenant });
  return { tenantId, key: (await createApiKey(stack.gateway, tenantId, key)).key };
}

const call = (key: string, more: object = {}): Promise<PlainAnswer> =>
  plainCall(stack.gateway, key, { body: { ...CHAT, ...more } });

async function balanceOf(tenantId: string): Promise<Balance> {
  const tenant = (await adminCall(stack.gateway, 'GET', `tenants/${tenantId}`)) as { balance: Balance };
  return tenant.balance;
}

async function refusals(code: string): Promise<readonly (number | undefined)[]> {
  const of = async (metric: string): Promise<number | undefined> =>
    (await metricOf(stack.gateway, metric)).get(`{reason="${code}"}`);
  return [await of('quota_check_failed_total'), await of('tollgate_quota_refusals_passed_total')];
}

const AUTHORITIES: readonly { name: string; env: Readonly<Record<string, string>>; unchecked: readonly string[] }[] = [
  { name: 'where Redis decides', env: {}, unchecked: [] },
  // I2 compares Redis with the ledger: without Redis there is nothing to compare.
  { name: 'where Postgres decides', env: { REDIS_URL: 'none' }, unchecked: ['I2'] },
];

describe.each(AUTHORITIES)('shadow mode, $name', ({ env, unchecked }) => {
  beforeAll(async () => {
    stack = await startGatewayStack([{ BILLING_BLOCK_ON_INSUFFICIENT: 'false', ...env }]);
    paid = await createPaidModel(stack.gateway, { baseUrl: `${stack.simulator.url}/v1` });
  }, 120_000);
  afterAll(() => stack.close(), 30_000);

  const broken = async (): Promise<readonly string[]> =>
    (await brokenInvariants(stack.gateway)).filter((text) => !unchecked.some((id) => text.includes(`"id":"${id}"`)));

  it('lets pass, counts and charges what a limit refuses', async () => {
    const { tenantId, key } = await tenantWith({ daily_quota: 1 });
    for (const stream of [false, true, false]) expect((await call(key, { stream })).status).toBe(200);
    const charges = await stack.book.ofTenant(tenantId);
    expect(charges.map(({ status, transferredNanoUsd }) => [status, transferredNanoUsd])).toEqual(
      Array.from({ length: 3 }, () => ['COMMITTED', COST_NANO_USD]),
    );
    // They were held for like any other: only the limit was lifted.
    for (const { holdNanoUsd } of charges) expect(holdNanoUsd).toBe(charges[0]?.holdNanoUsd);
    expect(await refusals('QUOTA_DAILY_EXCEEDED')).toEqual([2, 2]);
    expect(await broken()).toEqual([]);
  });

  it('counts no refused call in any window', async () => {
    const { key } = await tenantWith({}, { limit_1d_usd: '0.0003' });
    // Each may cost more than 0.0001: two fit below the limit with what they really cost, later ones do not.
    for (let made = 0; made < 5; made += 1) expect((await call(key)).status).toBe(200);
    const quoted = await plainCall(stack.gateway, key, { path: '/v1/quote', body: CHAT });
    const limit = quoted.json?.binding_limit as { scope: string; used: string };
    expect(quoted.json).toMatchObject({ passes: true, refusal: { code: 'API_KEY_RATE_LIMIT_1D_EXCEEDED' } });
    expect(limit.scope).toBe('key_1d');
    expect(Number(limit.used)).toBeLessThanOrEqual(0.0003);
  });

  it('charges what the balance does not cover: the wallet to its credit limit, the rest to overrun', async () => {
    const { tenantId, key } = await tenantWith({ initial_balance_usd: '0.00005', credit_limit_usd: '0.00003' });
    expect((await call(key)).status).toBe(200);
    expect(await balanceOf(tenantId)).toMatchObject({
      posted_usd: '-0.000030000',
      overrun_usd: '0.000020000',
      held_usd: '0.000000000',
    });
    expect((await call(key, { stream: true })).status).toBe(200);
    expect(await balanceOf(tenantId)).toMatchObject({ posted_usd: '-0.000030000', overrun_usd: '0.000120000' });
    const charges = await stack.book.ofTenant(tenantId);
    expect(charges.map(({ amountNanoUsd, holdNanoUsd }) => [amountNanoUsd, holdNanoUsd])).toEqual([
      [COST_NANO_USD, 0n],
      [COST_NANO_USD, 0n],
    ]);
    expect(await refusals('QUOTA_BALANCE_EXCEEDED')).toEqual([2, 2]);
    expect(await broken()).toEqual([]);
  });

  it('passes also where the tenant is in debt, and the next credit repays that first', async () => {
    const { tenantId, key } = await tenantWith({ initial_balance_usd: '0.00005', credit_limit_usd: '0.00003' });
    await call(key);
    await adminCall(stack.gateway, 'PATCH', `tenants/${tenantId}`, { credit_limit_usd: '0' });
    expect((await balanceOf(tenantId)).available_usd).toBe('-0.000030000');
    expect((await call(key)).status).toBe(200);
    const credited = await fetch(`${stack.gateway.url}/admin/v1/tenants/${tenantId}/adjustments`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${stack.gateway.adminToken}`,
        'content-type': 'application/json',
        'idempotency-key': randomUUID(),
      },
      body: JSON.stringify({ amount_usd: '1', reason_code: 'GOODWILL', description: 'covers the debt' }),
    });
    expect(credited.ok).toBe(true);
    expect(await balanceOf(tenantId)).toMatchObject({ posted_usd: '0.999850000', overrun_usd: '0.000000000' });
    expect(await broken()).toEqual([]);
  });

  it('stays exact under concurrent calls that are refused', async () => {
    const { tenantId, key } = await tenantWith({ initial_balance_usd: '0.0015', concurrency_limit: 2 });
    const answers = await Promise.all(Array.from({ length: 40 }, (_, at) => call(key, { stream: at % 2 === 0 })));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 40 }, () => 200));
    const { posted_usd, overrun_usd } = await balanceOf(tenantId);
    expect([posted_usd, overrun_usd]).toEqual(['0.000000000', '0.002500000']);
    expect(await broken()).toEqual([]);
  });

  it('voids what fails, as ever', async () => {
    const { tenantId, key } = await tenantWith({ initial_balance_usd: '0.000001' });
    const answer = await call(key, { x_simulate: { fail: { status: 500 } } });
    expect(answer.status).toBe(502);
    expect(await stack.book.ended(traceIdOf(answer))).toMatchObject({ status: 'VOIDED', transferredNanoUsd: 0n });
    expect(await balanceOf(tenantId)).toMatchObject({ posted_usd: '0.000001000', held_usd: '0.000000000' });
  });

  it('refuses as ever what no limit refuses', async () => {
    const { key } = await tenantWith({}, { allowed_models: ['another'] });
    expect((await call(key)).status).toBe(403);
    expect((await call(paid.key, { model: 'nobody' })).status).toBe(404);
  });

  it('says so when it starts', () => {
    expect(stack.gateway.logs()).toContain('BILLING_BLOCK_ON_INSUFFICIENT is false');
  });
});
