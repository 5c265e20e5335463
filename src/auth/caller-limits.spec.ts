import 'reflect-metadata';
import { AuthInstance, type MadeKey, until } from '../../test/support/auth-harness';
import { createTestDatabase, type TestDatabase } from '../../test/support/test-database';
import { newId } from '../kernel/ids';
import type { CallerLimits } from '../quota/scopes/caller-limits';
import type { Principal } from './principal';

const HOUR_MS = 3_600_000;

describe('the limits a key comes with', () => {
  let database: TestDatabase;
  let one: AuthInstance;
  let two: AuthInstance;
  let tenantId: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    [one, two] = await Promise.all([AuthInstance.start(database.url), AuthInstance.start(database.url)]);
  });
  beforeEach(async () => {
    tenantId = await insert('tenant', { name: 'Acme', timezone: 'UTC' });
  });
  afterAll(async () => {
    await Promise.all([one.module.close(), two.module.close()]);
    await database.drop();
  });

  const insert = (table: string, fields: object): Promise<string> => one.insert(table, fields);
  const insertWithoutId = (table: string, fields: object): Promise<string> =>
    one.insert(table, { ...fields, id: undefined });
  const makeUser = (fields: object = {}): Promise<string> =>
    insert('tenant_user', { tenant_id: tenantId, name: 'Ann', ...fields });
  const makeGroup = (fields: object = {}): Promise<string> =>
    insert('tenant_group', { tenant_id: tenantId, name: 'team', kind: 'standard', ...fields });
  const makeSubscription = (groupId: string, fields: object = {}): Promise<string> =>
    insert('subscription', { tenant_id: tenantId, group_id: groupId, starts_at: new Date(0), ...fields });
  const hoursFromNow = (hours: number): Date => new Date(Date.now() + hours * HOUR_MS);

  const makeKey = (fields: object = {}): Promise<MadeKey> => one.insertKey({ tenant_id: tenantId, ...fields });

  const limitsOf = (key: string, instance = one): Promise<CallerLimits> => instance.limitsOf(key);

  it('are the tenant’s rates and the key’s own amounts', async () => {
    await one.pool.query('update tenant set rpm_limit = 60, tpm_limit = 5000, concurrency_limit = 0 where id = $1', [
      tenantId,
    ]);
    const { key, id } = await makeKey({ budget_nano_usd: 9_000_000_000_000_000n, limit_1d_nano_usd: 0 });
    expect(await limitsOf(key)).toMatchObject({
      rpm: 60,
      tpm: 5000,
      concurrency: 0,
      key: { apiKeyId: id, budget: 9_000_000_000_000_000n, usd5h: null, usd1d: 0n, usd7d: null },
      user: null,
      group: null,
      subscription: null,
    });
    const other = await makeKey({ limit_5h_nano_usd: 5, limit_7d_nano_usd: 7 });
    expect((await limitsOf(other.key)).key).toMatchObject({ budget: null, usd5h: 5n, usd1d: null, usd7d: 7n });
  });

  it('are those of its user, by platform', async () => {
    const userId = await makeUser({ rpm_limit: 0 });
    const quota = { tenant_id: tenantId, user_id: userId };
    await insert('user_platform_quota', { ...quota, platform: 'openai', daily_limit_nano_usd: 9_000_000_000_000_000n });
    await insert('user_platform_quota', {
      ...quota,
      platform: 'anthropic',
      weekly_limit_nano_usd: 2,
      monthly_limit_nano_usd: 0,
    });
    const { key } = await makeKey({ user_id: userId });
    expect((await limitsOf(key)).user).toEqual({
      userId,
      rpm: 0,
      platforms: new Map([
        ['openai', { day: 9_000_000_000_000_000n, week: null, month: null }],
        ['anthropic', { day: null, week: 2n, month: 0n }],
      ]),
    });
    const { key: alone } = await makeKey({ user_id: await makeUser() });
    expect((await limitsOf(alone)).user).toMatchObject({ rpm: null, platforms: new Map() });
  });

  it.each([
    { group: null, override: null, rpm: null },
    { group: 30, override: null, rpm: 30 },
    { group: 30, override: 5, rpm: 5 },
    { group: 30, override: 50, rpm: 50 },
    { group: 30, override: 0, rpm: null },
    { group: null, override: 5, rpm: 5 },
    { group: 0, override: null, rpm: 0 },
  ])('take the override of the user before the group’s rate, and 0 of it for none: %j', async (row) => {
    const [userId, groupId] = [await makeUser(), await makeGroup({ rpm_limit: row.group })];
    if (row.override !== null) {
      const fields = { tenant_id: tenantId, group_id: groupId, user_id: userId, rpm_limit: row.override };
      await insertWithoutId('group_rpm_override', fields);
    }
    const { key } = await makeKey({ user_id: userId, group_id: groupId });
    expect((await limitsOf(key)).group).toEqual({ groupId, rpm: row.rpm });
    // The override is this user's in this group: nobody else's, and nowhere else.
    const { key: other } = await makeKey({ user_id: await makeUser(), group_id: groupId });
    expect((await limitsOf(other)).group).toEqual({ groupId, rpm: row.group });
    const elsewhere = await makeGroup({ rpm_limit: 7 });
    const { key: there } = await makeKey({ user_id: userId, group_id: elsewhere });
    expect((await limitsOf(there)).group).toEqual({ groupId: elsewhere, rpm: 7 });
    const { key: nobodys } = await makeKey({ group_id: groupId });
    expect((await limitsOf(nobodys)).group).toEqual({ groupId, rpm: row.group });
  });

  describe('in a subscription group', () => {
    let groupId: string;
    beforeEach(async () => {
      groupId = await makeGroup({ kind: 'subscription' });
    });

    const subscriptionOf = async (key: string): Promise<CallerLimits['subscription']> =>
      (await limitsOf(key)).subscription;

    it('name no subscription where there is none, and none in a standard group whatever there is', async () => {
      const { key } = await makeKey({ group_id: groupId });
      expect(await subscriptionOf(key)).toBe('none');
      const standard = await makeGroup();
      await makeSubscription(standard);
      const { key: other } = await makeKey({ group_id: standard });
      expect(await subscriptionOf(other)).toBeNull();
    });

    it('name the active one whose time it is, with its limits and its time', async () => {
      const endsAt = hoursFromNow(1);
      const subscriptionId = await makeSubscription(groupId, { ends_at: endsAt, daily_limit_nano_usd: 5 });
      await makeSubscription(groupId, { status: 'paused' });
      await makeSubscription(groupId, { starts_at: hoursFromNow(2) });
      await makeSubscription(groupId, { ends_at: hoursFromNow(-1) });
      const { key } = await makeKey({ group_id: groupId });
      expect(await subscriptionOf(key)).toEqual({
        subscriptionId,
        isActive: true,
        startsAtMs: 0,
        endsAtMs: endsAt.getTime(),
        day: 5n,
        week: null,
        month: null,
      });
    });

    it.each(['paused', 'cancelled', 'closed'])(
      'name the newest where none is active, as one that is %s',
      async (status) => {
        await makeSubscription(groupId, { status: 'paused' });
        const newest = await makeSubscription(groupId, { status, weekly_limit_nano_usd: 3 });
        const { key } = await makeKey({ group_id: groupId });
        expect(await subscriptionOf(key)).toMatchObject({
          subscriptionId: newest,
          isActive: false,
          endsAtMs: Number.POSITIVE_INFINITY,
          week: 3n,
        });
      },
    );

    it('name the user’s own before the one for all, and never another user’s', async () => {
      const [ann, bob] = [await makeUser(), await makeUser()];
      const anns = await makeSubscription(groupId, { user_id: ann });
      const forAll = await makeSubscription(groupId);
      await makeSubscription(groupId, { user_id: bob, status: 'paused' });
      const keys = await Promise.all([ann, bob, null].map((userId) => makeKey({ group_id: groupId, user_id: userId })));
      const named = await Promise.all(keys.map(({ key }) => subscriptionOf(key)));
      expect(named.map((subscription) => subscription !== 'none' && subscription?.subscriptionId)).toEqual([
        anns,
        forAll,
        forAll,
      ]);
      const onlyHers = await makeGroup({ kind: 'subscription' });
      await makeSubscription(onlyHers, { user_id: ann });
      const { key } = await makeKey({ group_id: onlyHers, user_id: bob });
      expect(await subscriptionOf(key)).toBe('none');
    });

    it('name the next one once its time has come, though nobody changed anything', async () => {
      const first = await makeSubscription(groupId, { ends_at: hoursFromNow(1) });
      const second = await makeSubscription(groupId, { starts_at: hoursFromNow(1), ends_at: hoursFromNow(3) });
      const { key } = await makeKey({ group_id: groupId });
      await one.warmUp(key);
      expect((one.ask(key) as Principal).limits.subscription).toMatchObject({ subscriptionId: first });
      try {
        one.clock.offsetMs = 2 * HOUR_MS;
        expect(one.ask(key)).toBeInstanceOf(Promise);
        await one.warmUp(key);
        expect((one.ask(key) as Principal).limits.subscription).toMatchObject({ subscriptionId: second });
        // After the last end there is nothing to wait for: memory answers, with what says why the key is refused.
        one.clock.offsetMs = 4 * HOUR_MS;
        await one.warmUp(key);
        expect((one.ask(key) as Principal).limits.subscription).toMatchObject({ subscriptionId: second });
      } finally {
        one.clock.offsetMs = 0;
      }
    });
  });

  it('stay one object for as long as nothing changes', async () => {
    const { key } = await makeKey({ user_id: await makeUser() });
    await one.warmUp(key);
    const { limits } = one.ask(key) as Principal;
    expect((one.ask(key) as Principal).limits).toBe(limits);
  });

  it('are asked for with one statement for many keys at once', async () => {
    const userId = await makeUser();
    const keys = await Promise.all(Array.from({ length: 40 }, () => makeKey({ user_id: userId })));
    const before = two.statements.length;
    const answers = await Promise.all(keys.map(({ key }) => limitsOf(key, two)));
    expect(new Set(answers.map((limits) => limits.user?.userId))).toEqual(new Set([userId]));
    expect(two.statements.length - before).toBeLessThanOrEqual(2);
  });

  it('refuse the key of a suspended user in another process, until the user is active again', async () => {
    const userId = await makeUser();
    const { key } = await makeKey({ user_id: userId });
    const { key: other } = await makeKey();
    await two.warmUp(key);
    await one.pool.query(`update tenant_user set status = 'suspended' where id = $1`, [userId]);
    expect(await until(async () => (await two.codeOf(key)) === 'USER_NOT_ACTIVE')).toBeLessThan(5_000);
    expect(await two.codeOf(other)).toBe('ADMITTED');
    await one.pool.query(`update tenant_user set status = 'active' where id = $1`, [userId]);
    await until(async () => (await two.codeOf(key)) === 'ADMITTED');
  });

  it('are followed by another process whatever table they change in', async () => {
    const userId = await makeUser();
    const groupId = await makeGroup({ kind: 'subscription' });
    const { key, id: keyId } = await makeKey({ user_id: userId, group_id: groupId });
    await two.warmUp(key);
    const changes: readonly [string, unknown[], (limits: CallerLimits) => boolean][] = [
      ['update tenant set tpm_limit = 1 where id = $1', [tenantId], ({ tpm }) => tpm === 1],
      ['update api_key set budget_nano_usd = 1 where id = $1', [keyId], ({ key: of }) => of?.budget === 1n],
      ['update tenant_user set rpm_limit = 1 where id = $1', [userId], ({ user }) => user?.rpm === 1],
      ['update tenant_group set rpm_limit = 2 where id = $1', [groupId], ({ group }) => group?.rpm === 2],
      [
        'insert into group_rpm_override (tenant_id, group_id, user_id, rpm_limit) values ($1, $2, $3, 3)',
        [tenantId, groupId, userId],
        ({ group }) => group?.rpm === 3,
      ],
      ['delete from group_rpm_override where user_id = $1', [userId], ({ group }) => group?.rpm === 2],
      [
        `insert into user_platform_quota (id, tenant_id, user_id, platform) values ($1, $2, $3, 'openai')`,
        [newId(), tenantId, userId],
        ({ user }) => user?.platforms.has('openai') === true,
      ],
      [
        'insert into subscription (id, tenant_id, group_id, starts_at) values ($1, $2, $3, now())',
        [newId(), tenantId, groupId],
        ({ subscription }) => subscription !== 'none',
      ],
      [
        `insert into free_allowance (tenant_id, service, monthly_calls) values ($1, 'chat', 9)`,
        [tenantId],
        ({ allowances }) => allowances.get('chat') === 9,
      ],
      [
        'update free_allowance set monthly_calls = 8 where tenant_id = $1',
        [tenantId],
        (limits) => limits.allowances.get('chat') === 8,
      ],
    ];
    for (const [sql, values, hasArrived] of changes) {
      await two.warmUp(key);
      expect([sql, hasArrived((two.ask(key) as Principal).limits)]).toEqual([sql, false]);
      await one.pool.query(sql, values);
      expect(await until(async () => hasArrived(await limitsOf(key, two)))).toBeLessThan(5_000);
    }
  });

  it('cannot be another tenant’s: the database refuses to let one’s key, override, quota or subscription name them', async () => {
    const [userId, groupId] = [await makeUser(), await makeGroup({ kind: 'subscription' })];
    const { id: keyId } = await makeKey({ user_id: userId, group_id: groupId });
    const other = await insert('tenant', { name: 'Other', timezone: 'UTC' });
    const [theirUser, theirGroup] = [await makeUser({ tenant_id: other }), await makeGroup({ tenant_id: other })];
    const refused = [
      makeKey({ user_id: theirUser }),
      makeKey({ group_id: theirGroup }),
      makeSubscription(theirGroup),
      makeSubscription(groupId, { user_id: theirUser }),
      insertWithoutId('group_rpm_override', {
        tenant_id: tenantId,
        group_id: groupId,
        user_id: theirUser,
        rpm_limit: 1,
      }),
      insertWithoutId('group_rpm_override', {
        tenant_id: tenantId,
        group_id: theirGroup,
        user_id: userId,
        rpm_limit: 1,
      }),
      insert('user_platform_quota', { tenant_id: tenantId, user_id: theirUser, platform: 'openai' }),
      one.pool.query('update api_key set user_id = $2 where id = $1', [keyId, theirUser]),
      one.pool.query('update tenant_user set tenant_id = $2 where id = $1', [userId, other]),
      one.pool.query('update tenant_group set tenant_id = $2 where id = $1', [groupId, other]),
      one.pool.query('update api_key set tenant_id = $2 where id = $1', [keyId, other]),
    ];
    const codes = await Promise.allSettled(refused);
    expect(
      codes.map((result) => (result.status === 'rejected' ? (result.reason as { code: string }).code : 'took')),
    ).toEqual(refused.map(() => '23503'));
  });

  it('are bounded by the database: no negative amount, none beyond 9,000,000 USD, no end before the beginning', async () => {
    const groupId = await makeGroup({ kind: 'subscription' });
    const userId = await makeUser();
    const refused = [
      makeKey({ budget_nano_usd: -1 }),
      makeKey({ limit_5h_nano_usd: 9_000_000_000_000_001n }),
      makeUser({ rpm_limit: -1 }),
      makeUser({ status: 'gone' }),
      makeGroup({ kind: 'free' }),
      makeSubscription(groupId, { daily_limit_nano_usd: -1 }),
      makeSubscription(groupId, { ends_at: new Date(0) }),
      insert('user_platform_quota', { tenant_id: tenantId, user_id: userId, platform: 'a:b' }),
      insertWithoutId('free_allowance', { tenant_id: tenantId, service: 'chat', monthly_calls: -1 }),
      one.pool.query('update tenant set concurrency_limit = 1000000000001 where id = $1', [tenantId]),
    ];
    const codes = await Promise.allSettled(refused);
    expect(
      codes.map((result) => (result.status === 'rejected' ? (result.reason as { code: string }).code : 'took')),
    ).toEqual(refused.map(() => '23514'));
  });

  it('never lose a subscription: the application may not delete one', async () => {
    const groupId = await makeGroup({ kind: 'subscription' });
    const id = await makeSubscription(groupId);
    await expect(one.pool.query('delete from subscription where id = $1', [id])).rejects.toMatchObject({
      code: '42501',
    });
  });
});
