import 'reflect-metadata';
import { Client } from 'pg';
import { AuthInstance, until } from '../../test/support/auth-harness';
import { createTestDatabase, type TestDatabase } from '../../test/support/test-database';
import { newId } from '../kernel/ids';
import { NO_LIMITS } from '../quota/scopes/caller-limits';
import { ApiKeyHasher } from './api-key-hasher';
import type { Principal } from './principal';

describe('ApiKeyAuthenticator', () => {
  let database: TestDatabase;
  let one: AuthInstance;
  let two: AuthInstance;

  beforeAll(async () => {
    database = await createTestDatabase();
    [one, two] = await Promise.all([AuthInstance.start(database.url), AuthInstance.start(database.url)]);
  });

  afterAll(async () => {
    await Promise.all([one.module.close(), two.module.close()]);
    await database.drop();
  });

  async function makeTenant(creditLimitNanoUsd = 0): Promise<string> {
    const tenantId = newId();
    await one.pool.query(
      `insert into tenant (id, name, timezone, daily_quota, monthly_quota) values ($1, 'Acme', 'Asia/Shanghai', 7, null)`,
      [tenantId],
    );
    await one.pool.query(
      `insert into ledger_account (id, tenant_id, name, posted_nano_usd, credit_limit_nano_usd)
         values ($1, $2, 'wallet', 0, $3)`,
      [newId(), tenantId, creditLimitNanoUsd],
    );
    return tenantId;
  }

  async function makeKey(
    tenantId: string,
    fields: { models?: string[]; expiresAt?: Date } = {},
  ): Promise<[string, string]> {
    const { key, digest, hint } = one.module.get(ApiKeyHasher).newKey();
    const id = newId();
    await one.pool.query(
      `insert into api_key (id, tenant_id, name, digest, hint, allowed_models, expires_at)
         values ($1, $2, 'ci', $3, $4, $5, $6)`,
      [id, tenantId, digest, hint, fields.models ?? null, fields.expiresAt ?? null],
    );
    return [key, id];
  }

  it('makes keys of 256 random bits and stores nothing that authenticates', async () => {
    const tenantId = await makeTenant();
    const [key, id] = await makeKey(tenantId);
    expect(key).toMatch(/^sk-tg-[A-Za-z0-9_-]{43}$/);
    const { rows } = await one.pool.query<{ digest: Buffer; hint: string }>('select * from api_key where id = $1', [
      id,
    ]);
    expect(rows[0]?.hint).toBe(key.slice(-4));
    const stored = rows[0]?.digest ?? Buffer.alloc(0);
    for (const guess of [stored.toString('hex'), stored.toString('base64url'), stored.toString('base64')]) {
      expect(await one.codeOf(`sk-tg-${guess}`)).toBe('INVALID_API_KEY');
    }
  });

  it('answers with everything the hot path needs, the second time without a promise and without Postgres', async () => {
    const tenantId = await makeTenant(5_000);
    const [key, apiKeyId] = await makeKey(tenantId, { models: ['gpt-a', 'gpt-b'] });
    await one.warmUp(key);
    const before = one.statements.length;
    const principal = one.ask(key) as Principal;
    expect(principal).toEqual({
      tenantId,
      apiKeyId,
      apiKeyName: 'ci',
      allowedModels: new Set(['gpt-a', 'gpt-b']),
      limits: {
        ...NO_LIMITS,
        tenantId,
        timezone: 'Asia/Shanghai',
        creditLimit: 5_000n,
        dailyQuota: 7,
        key: { apiKeyId, budget: null, usd5h: null, usd1d: null, usd7d: null },
      },
      unknownPricePolicy: 'reject',
      priceMultiplierMillionths: 1_000_000n,
    });
    expect(one.statements.length).toBe(before);
  });

  it('refuses a key that another process revoked, within 5 s', async () => {
    const [key, id] = await makeKey(await makeTenant());
    await Promise.all([one.warmUp(key), two.warmUp(key)]);
    await one.pool.query('update api_key set revoked_at = now() where id = $1', [id]);
    const tookMs = await until(async () => (await two.codeOf(key)) === 'API_KEY_REVOKED');
    expect(tookMs).toBeLessThan(5_000);
    await until(async () => (await one.codeOf(key)) === 'API_KEY_REVOKED');
  });

  it('refuses a key that another process deleted', async () => {
    const [key, id] = await makeKey(await makeTenant());
    await two.warmUp(key);
    await one.pool.query('delete from api_key where id = $1', [id]);
    await until(async () => (await two.codeOf(key)) === 'INVALID_API_KEY');
  });

  it('follows a tenant that is suspended and comes back, and its new limits', async () => {
    const tenantId = await makeTenant();
    const [key] = await makeKey(tenantId);
    await two.warmUp(key);
    await one.pool.query(`update tenant set status = 'suspended' where id = $1`, [tenantId]);
    await until(async () => (await two.codeOf(key)) === 'TENANT_NOT_ACTIVE');
    await one.pool.query(`update tenant set status = 'active', daily_quota = 9 where id = $1`, [tenantId]);
    await until(async () => (await two.codeOf(key)) === 'ADMITTED');
    await one.pool.query('update ledger_account set credit_limit_nano_usd = 77 where tenant_id = $1', [tenantId]);
    await until(async () => ((await two.ask(key)) as Principal).limits.creditLimit === 77n);
    expect(((await two.ask(key)) as Principal).limits.dailyQuota).toBe(9);
  });

  it('lets a key expire while it is in memory', async () => {
    const [key] = await makeKey(await makeTenant(), { expiresAt: new Date(Date.now() + 60_000) });
    await one.warmUp(key);
    one.clock.offsetMs = 61_000;
    try {
      expect(one.ask(key)).toMatchObject({ code: 'API_KEY_EXPIRED' });
    } finally {
      one.clock.offsetMs = 0;
    }
    expect(one.ask(key)).toHaveProperty('tenantId');
  });

  it('forgets everything when beats are missed, and asks Postgres for each call until they are back', async () => {
    const [key, id] = await makeKey(await makeTenant());
    await two.warmUp(key);
    const superuser = new Client({ connectionString: database.url });
    await superuser.connect();
    await superuser.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'tollgate-changes' and datname = current_database()`,
    );
    await until(() => !two.feed.isLive);
    expect(two.ask(key)).toBeInstanceOf(Promise);
    // A change that no notification announces: only a question to Postgres can find it.
    await superuser.query(
      `begin; set local session_replication_role = replica;
       update api_key set revoked_at = now() where id = '${id}'; commit`,
    );
    expect(await two.codeOf(key)).toBe('API_KEY_REVOKED');
    expect(two.feed.isLive).toBe(false);
    await superuser.end();
    await until(() => two.feed.isLive && one.feed.isLive);
    // What was in memory before the gap is not believed after it.
    expect(await two.codeOf(key)).toBe('API_KEY_REVOKED');
  });

  it('asks Postgres once for many calls of one key', async () => {
    const [key] = await makeKey(await makeTenant());
    const before = two.statements.length;
    const answers = await Promise.all(Array.from({ length: 500 }, async () => two.ask(key)));
    expect(answers.every((answer) => !('code' in answer))).toBe(true);
    expect(two.statements.length - before).toBeLessThanOrEqual(2);
  });

  it('survives a flood of unknown keys on one connection, refusing what is beyond its bound', async () => {
    const pool = two.pool;
    let busiest = 0;
    const watch = setInterval(() => {
      busiest = Math.max(busiest, pool.totalCount - pool.idleCount);
    }, 1);
    const before = two.statements.length;
    const flood = Array.from({ length: 20_000 }, (_, i) => two.codeOf(`sk-tg-${'u'.repeat(40)}${i}`));
    const counts = new Map<string, number>();
    for (const code of await Promise.all(flood)) counts.set(code, (counts.get(code) ?? 0) + 1);
    clearInterval(watch);
    expect(counts.get('ADMITTED')).toBeUndefined();
    expect((counts.get('INVALID_API_KEY') ?? 0) + (counts.get('BILLING_SERVICE_ERROR') ?? 0)).toBe(20_000);
    expect(counts.get('INVALID_API_KEY')).toBeGreaterThanOrEqual(10_000);
    expect(counts.get('BILLING_SERVICE_ERROR')).toBeGreaterThan(0);
    expect(two.statements.length - before).toBeLessThanOrEqual(25);
    expect(busiest).toBeLessThanOrEqual(1);
  });

  it('does not ask again for a key it knows to be unknown, until keys change', async () => {
    const { key, digest, hint } = two.module.get(ApiKeyHasher).newKey();
    await until(async () => {
      await two.ask(key);
      return !(two.ask(key) instanceof Promise);
    });
    expect(two.ask(key)).toMatchObject({ code: 'INVALID_API_KEY' });
    await one.pool.query(`insert into api_key (id, tenant_id, name, digest, hint) values ($1, $2, 'late', $3, $4)`, [
      newId(),
      await makeTenant(),
      digest,
      hint,
    ]);
    // Sooner than it would have been forgotten by itself.
    expect(await until(async () => (await two.codeOf(key)) === 'ADMITTED')).toBeLessThan(3_000);
  });

  it('says 503 where Postgres does not answer, and admits again when it does', async () => {
    const [key] = await makeKey(await makeTenant());
    const lock = await one.pool.connect();
    try {
      await lock.query('begin; lock table api_key in access exclusive mode');
      const startMs = performance.now();
      expect(await two.codeOf(key)).toBe('BILLING_SERVICE_ERROR');
      expect(performance.now() - startMs).toBeLessThan(4_000);
    } finally {
      await lock.query('rollback');
      lock.release();
    }
    expect(await two.codeOf(key)).toBe('ADMITTED');
  });
});
