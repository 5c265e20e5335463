import { adminCall } from '../factories/admin-client';
import type { PaidModel } from '../factories/paid-model';
import { createApiKey } from '../factories/tenants';
import { errorOf } from '../support/client-log';
import { MoneyStage, until } from '../support/money-stage';
import type { TestGateway } from '../support/test-gateway';

/** What the product promises of every process. */
const REFUSED_WITHIN_MS = 5_000;

describe('a key revoked through one gateway', () => {
  let stage: MoneyStage;
  let here: TestGateway;
  let there: TestGateway;
  let paid: PaidModel;

  beforeAll(async () => {
    stage = await MoneyStage.open();
    [here, there] = [await stage.startGateway(), await stage.startGateway()];
    paid = await stage.paidModel(here, { tenant: { daily_quota: null, monthly_quota: null } });
  }, 60_000);

  afterAll(() => stage.close(), 30_000);

  /** A key that the other gateway knows by heart. */
  async function keyInMemory(): Promise<{ id: string; key: string }> {
    const created = await createApiKey(here, paid.tenantId);
    for (let call = 0; call < 3; call += 1) expect(await statusOf(there, created.key)).toBe(200);
    return created;
  }

  async function statusOf(gateway: TestGateway, key: string): Promise<number | undefined> {
    const record = await stage.clients.call(gateway.url, { key, model: paid.model });
    if (record.status === 401) expect(errorOf(record)).toMatchObject({ code: 'API_KEY_REVOKED' });
    return record.status;
  }

  /** Milliseconds from the answer to the revocation until the gateway refuses; it keeps asking without a pause. */
  async function msUntilRefused(gateway: TestGateway, id: string, key: string): Promise<number> {
    await adminCall(here, 'POST', `api-keys/${id}/revoke`);
    const revokedAt = performance.now();
    await until(
      async () => (await statusOf(gateway, key)) === 401,
      2 * REFUSED_WITHIN_MS,
      () => 'the revoked key still passes',
    );
    return performance.now() - revokedAt;
  }

  it('is refused there at once, and by the other gateway within 5 seconds', async () => {
    const { id, key } = await keyInMemory();
    expect(await msUntilRefused(there, id, key)).toBeLessThan(REFUSED_WITHIN_MS);
    expect(await statusOf(here, key)).toBe(401);
  }, 30_000);

  it('is refused within 5 seconds by a gateway whose change feed was cut just before', async () => {
    const { id, key } = await keyInMemory();
    const { rows } = await stage.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'tollgate-changes'`,
    );
    expect(rows).toHaveLength(2);
    expect(await msUntilRefused(there, id, key)).toBeLessThan(REFUSED_WITHIN_MS);
  }, 30_000);

  it('never passes again once it was refused, also while caches fill and the feed breaks', async () => {
    const { id, key } = await keyInMemory();
    await msUntilRefused(there, id, key);
    for (let round = 0; round < 10; round += 1) {
      await stage.pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and application_name = 'tollgate-changes'`,
      );
      expect(await Promise.all([here, there].map((gateway) => statusOf(gateway, key)))).toEqual([401, 401]);
    }
  }, 30_000);

  it('leaves the other keys of its tenant alone', async () => {
    const { id, key } = await keyInMemory();
    await msUntilRefused(there, id, key);
    expect(await statusOf(there, paid.key)).toBe(200);
  }, 30_000);
});
