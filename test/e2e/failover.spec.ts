import { Pool } from 'pg';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { adminCall } from '../factories/admin-client';
import { createProvider, createUpstream } from '../factories/upstreams';
import { type Simulator, startSimulator } from '../simulator/simulator';
import { ClientLog, type ClientRecord, errorOf } from '../support/client-log';
import { eventually } from '../support/eventually';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { compareLogs, readLedger } from '../support/three-logs';

const CALLS = 2_000;
const AT_ONCE = 50;
const RETRY_AFTER_S = 120;
const OPEN_MS = 2_000;
const PRICE = { input: 1_000_000_000n, output: 2_000_000_000n, perRequest: 0n };

describe('failover', () => {
  let stack: GatewayStack;
  let pool: Pool;
  let clients: ClientLog;
  const simulators: Simulator[] = [];

  beforeAll(async () => {
    // Two processes of one deployment, and one that has no retries to spend.
    const env = { UPSTREAM_BREAKER_OPEN_MS: String(OPEN_MS) };
    stack = await startGatewayStack([env, env, { ...env, UPSTREAM_RETRY_PERCENT: '0' }]);
    pool = new Pool({ connectionString: stack.databaseUrl, max: 2 });
  }, 120_000);
  afterAll(async () => {
    await pool.end();
    await Promise.all(simulators.map((simulator) => simulator.close()));
    await stack.close();
  });
  beforeEach(() => {
    clients = new ClientLog();
  });
  afterEach(() => {
    clients.close();
  });

  async function startProvider(...options: Parameters<typeof startSimulator>): Promise<Simulator> {
    const simulator = await startSimulator(...options);
    simulators.push(simulator);
    return simulator;
  }

  const access = (): GatewayStack['gateway'] => stack.gateway;
  const urlOf = (process: number): string => stack.gateways[process]?.url ?? '';

  async function paidAt(model: string, provider: Simulator, others: readonly Simulator[] = []): Promise<PaidModel> {
    const paid = await createPaidModel(access(), {
      baseUrl: `${provider.url}/v1`,
      model,
      tenant: { initial_balance_usd: '100', daily_quota: null, monthly_quota: null },
    });
    for (const other of others) {
      const provider_id = await createProvider(access(), { base_url: `${other.url}/v1` });
      await createUpstream(access(), { provider_id, model });
    }
    return paid;
  }

  /** So many calls, every second one a stream, never more than AT_ONCE under way, spread over both processes. */
  async function load(paid: PaidModel, calls: number): Promise<void> {
    let begun = 0;
    const caller = async (): Promise<void> => {
      while (begun < calls) {
        begun += 1;
        await clients.call(urlOf(begun % 2), { key: paid.key, model: paid.model, isStream: begun % 4 < 2 });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, caller));
  }

  it(`${CALLS} calls over one that resets, one that is busy and one that is well: no error, exact charges`, async () => {
    const resetting = await startProvider({ defaults: { resetAt: 'headers' } });
    const busy = await startProvider({ defaults: { fail: { status: 429, retryAfter: String(RETRY_AFTER_S) } } });
    const well = await startProvider();
    const paid = await paidAt('steady', resetting, [busy, well]);
    await load(paid, AT_ONCE);
    // Calls that were on their way when it first said so have left by now, and both processes have heard.
    const busyId = await upstreamAt(busy);
    for (const process of [0, 1]) {
      await eventually('it is left alone', async () => (await healthAt(process, busyId)).cooling_until ?? undefined);
    }
    const asked = busy.served().length;
    expect(asked).toBeGreaterThan(0);
    await load(paid, CALLS - AT_ONCE);
    expect(busy.served()).toHaveLength(asked);
    expect(clients.statuses()).toEqual({ '200': CALLS });
    expect(clients.count('answered')).toBe(CALLS);

    const served = [...resetting.served(), ...busy.served(), ...well.served()];
    const verdict = compareLogs({
      clients: clients.records,
      served,
      rows: await eventually('every charge has ended', async () => {
        const rows = await readLedger(pool, [paid.tenantId]);
        return rows.some(({ status }) => status === 'PENDING') ? undefined : rows;
      }),
      price: PRICE,
    });
    expect(verdict).toMatchObject({ violations: [], answered: CALLS, committed: CALLS, voided: 0 });
    expect(well.served()).toHaveLength(CALLS);

    expect(resetting.served().length).toBeGreaterThan(0);
    expect(resetting.served().length).toBeLessThanOrEqual(2 * AT_ONCE);
    expect(await brokenInvariants(access())).toEqual([]);
  }, 180_000);

  it('is refused at once and holds nothing where every upstream is open, in every process; one call tries, and all come back', async () => {
    const down = await startProvider();
    down.script('*', { resetAt: 'headers' });
    const paid = await paidAt('all-down', down);
    const call = (process: number): Promise<ClientRecord> =>
      clients.call(urlOf(process), { key: paid.key, model: paid.model });
    for (let failures = 0; failures < 5; failures += 1) expect((await call(0)).status).toBe(502);

    const startedMs = performance.now();
    const refused = await call(0);
    expect(performance.now() - startedMs).toBeLessThan(100);
    expect([refused.status, errorOf(refused).code]).toEqual([503, 'NO_UPSTREAM_AVAILABLE']);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    // The other process has heard of it: it does not find out for itself.
    const servedBefore = down.served().length;
    expect(servedBefore).toBe(5);
    await eventually('the other process has heard', async () => {
      const health = await healthAt(1, paid.upstreamId);
      return health.breaker === 'open' || undefined;
    });
    const elsewhere = await call(1);
    expect([elsewhere.status, errorOf(elsewhere).code]).toEqual([503, 'NO_UPSTREAM_AVAILABLE']);
    expect(down.served()).toHaveLength(servedBefore);

    down.script('*', { headersDelayMs: 500 });
    await eventually('a call may try', async () => {
      const answers = await Promise.all([call(0), call(1), call(0), call(1)]);
      const answered = answers.filter(({ status }) => status === 200);
      expect(answered.length).toBeLessThanOrEqual(1);
      return answered.length === 1 || undefined;
    });
    expect(down.served()).toHaveLength(servedBefore + 1);
    await eventually('both processes have heard', async () => {
      const both = [await healthAt(0, paid.upstreamId), await healthAt(1, paid.upstreamId)];
      return both.every(({ breaker }) => breaker === 'closed') || undefined;
    });
    expect([(await call(0)).status, (await call(1)).status]).toEqual([200, 200]);
    const charged = (await readLedger(pool, [paid.tenantId])).filter(({ status }) => status === 'COMMITTED');
    expect(charged).toHaveLength(3);
    expect(await brokenInvariants(access())).toEqual([]);
  }, 60_000);

  it('keeps every process to the time that an upstream asked one of them for', async () => {
    const busy = await startProvider({ defaults: { fail: { status: 429, retryAfter: String(RETRY_AFTER_S) } } });
    const paid = await paidAt('asked', busy);
    const first = await clients.call(urlOf(0), { key: paid.key, model: paid.model });
    expect([first.status, errorOf(first).code]).toEqual([429, 'UPSTREAM_RATE_LIMITED']);
    await eventually('the other process has heard', async () => {
      const { cooling_until: until } = await healthAt(1, paid.upstreamId);
      return typeof until === 'string' || undefined;
    });
    for (const process of [0, 1]) {
      const refused = await clients.call(urlOf(process), { key: paid.key, model: paid.model });
      expect([refused.status, errorOf(refused).code]).toEqual([503, 'NO_UPSTREAM_AVAILABLE']);
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(RETRY_AFTER_S - 30);
    }
    expect(busy.served()).toHaveLength(1);
  });

  it('never has more calls under way at an upstream than it takes, and refuses the rest at once', async () => {
    const slow = await startProvider({ defaults: { headersDelayMs: 400 } });
    const paid = await paidAt('narrow', slow);
    await adminCall(access(), 'PATCH', `upstreams/${paid.upstreamId}`, { max_concurrency: 3 });
    const calls = Array.from({ length: 20 }, () => clients.call(urlOf(0), { key: paid.key, model: paid.model }));
    const answers = await Promise.all(calls);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(3);
    const refused = answers.filter(({ status }) => status !== 200);
    expect(new Set(refused.map((answer) => errorOf(answer).code))).toEqual(new Set(['NO_UPSTREAM_AVAILABLE']));
    expect(refused.every(({ headers }) => headers['retry-after'] === '1')).toBe(true);
    expect(slow.served()).toHaveLength(3);
    const after = await clients.call(urlOf(0), { key: paid.key, model: paid.model });
    expect(after.status).toBe(200);
  });

  it('tells the first failure where the retry budget is used up, and asks no other upstream', async () => {
    const [failing, spare] = [await startProvider({ defaults: { fail: { status: 504 } } }), await startProvider()];
    const paid = await paidAt('budgeted', failing);
    const provider_id = await createProvider(access(), { base_url: `${spare.url}/v1` });
    await createUpstream(access(), { provider_id, model: 'budgeted', priority: 1 });
    const call = { key: paid.key, model: paid.model };
    const told = await eventually('the other process knows the model', async () => {
      const record = await clients.call(urlOf(2), call);
      return record.status === 404 ? undefined : record;
    });
    expect([told.status, errorOf(told).code]).toEqual([504, 'UPSTREAM_TIMEOUT']);
    expect([failing.served().length, spare.served().length]).toEqual([1, 0]);
    expect((await clients.call(urlOf(0), call)).status).toBe(200);
    expect(await stack.book.endedOfModel('budgeted', 2)).toMatchObject([{ status: 'VOIDED' }, { status: 'COMMITTED' }]);
  });

  it('serves an alias as its model, and a region by its upstreams alone', async () => {
    const [eu, us] = [await startProvider(), await startProvider()];
    const paid = await paidAt('placed', eu, [us]);
    await adminCall(access(), 'PATCH', `upstreams/${paid.upstreamId}`, { region: 'eu' });
    await adminCall(access(), 'PUT', 'model-aliases/nickname', { model: 'placed' });
    for (let calls = 0; calls < 10; calls += 1) {
      const headers = { 'x-tollgate-region': 'eu' };
      const answer = await clients.call(urlOf(0), { key: paid.key, model: 'nickname', headers });
      expect([answer.status, answer.headers['x-tollgate-region']]).toEqual([200, 'eu']);
      expect(JSON.parse(answer.body)).toMatchObject({ model: 'nickname' });
    }
    expect([eu.served().length, us.served().length]).toEqual([10, 0]);
    expect(eu.served().every(({ model }) => model === 'placed')).toBe(true);
    const charges = await stack.book.endedOfModel('placed', 10);
    expect(charges).toHaveLength(10);
    const headers = { 'x-tollgate-region': 'mars' };
    const nowhere = await clients.call(urlOf(0), { key: paid.key, model: 'nickname', headers });
    expect([nowhere.status, errorOf(nowhere).code]).toEqual([503, 'NO_UPSTREAM_AVAILABLE']);
    expect(String(errorOf(nowhere).message)).toContain('mars');
  });

  async function upstreamAt(provider: Simulator): Promise<string> {
    const { rows } = await pool.query<{ id: string }>(
      'select u.id from upstream u join provider p on p.id = u.provider_id where p.base_url = $1',
      [`${provider.url}/v1`],
    );
    return rows[0]?.id ?? '';
  }

  interface Health {
    readonly breaker: string;
    readonly cooling_until: string | null;
  }

  async function healthAt(process: number, upstreamId: string): Promise<Health> {
    const gateway = stack.gateways[process];
    if (!gateway) throw new Error('no such process');
    return (await adminCall(gateway, 'GET', `upstreams/${upstreamId}/health`)) as Health;
  }
});
