import { type AdminAccess, adminCall, textField } from '../factories/admin-client';
import { createApiKey } from '../factories/tenants';
import { ClientLog, type ClientRecord, errorOf } from '../support/client-log';
import { ALL_HOLD, invariantsOf, MoneyStage } from '../support/money-stage';
import type { TestGateway } from '../support/test-gateway';
import { compareLogs, type KnownPrice, readLedger } from '../support/three-logs';

const CALLS = 1_000;
const ROOM = 100;
const MODEL = 'by-the-call';
/** A call costs exactly what it holds: a tenth of a cent. */
const PRICE = { input_usd_per_mtok: '0', output_usd_per_mtok: '0', per_request_usd: '0.001' };
const KNOWN_PRICE: KnownPrice = { input: 0n, output: 0n, perRequest: 1_000_000n };
const USD_FOR_ROOM = '0.1';
const WALLET_ROUNDS = 50;
const OUTPUT_TOKENS = 100_000;
/** Until every call was admitted or refused no answer comes, so that nothing is given back before. */
const ALL_AT_ONCE = { headersDelayMs: 6_000 };

const PERIODS = { day: 'daily', week: 'weekly', month: 'monthly' } as const;

/** Fields of a key; what it names is made first. */
type KeyFields = (access: AdminAccess, tenantId: string) => Promise<object>;

interface Caller {
  readonly tenant?: object;
  readonly key?: KeyFields;
}

interface Scope extends Caller {
  readonly name: string;
  readonly status: 402 | 429;
  readonly code: string;
  /** Answers wait until everybody has asked: the use of such a scope falls when a call ends. */
  readonly isFreedByEnds?: boolean;
}

async function made(access: AdminAccess, path: string, body: object): Promise<string> {
  return textField(await adminCall(access, 'POST', path, body), 'id');
}

async function userWithQuota(access: AdminAccess, tenantId: string, limits: object): Promise<object> {
  const userId = await made(access, 'users', { tenant_id: tenantId, name: 'one' });
  await adminCall(access, 'POST', 'user-platform-quotas', { user_id: userId, platform: 'openai', ...limits });
  return { user_id: userId };
}

async function groupWithSubscription(access: AdminAccess, tenantId: string, limits: object): Promise<object> {
  const groupId = await made(access, 'groups', { tenant_id: tenantId, name: 'plan', kind: 'subscription' });
  await made(access, 'subscriptions', { group_id: groupId, ...limits });
  return { group_id: groupId };
}

const fieldOfKey =
  (name: string): KeyFields =>
  () =>
    Promise.resolve({ [name]: USD_FOR_ROOM });

/** Every scope of the reservation, each with room for exactly a hundred calls. */
const SCOPES: readonly Scope[] = [
  { name: 'requests a day', status: 429, code: 'QUOTA_DAILY_EXCEEDED', tenant: { daily_quota: ROOM } },
  { name: 'requests a month', status: 429, code: 'QUOTA_MONTHLY_EXCEEDED', tenant: { monthly_quota: ROOM } },
  { name: 'requests a minute', status: 429, code: 'TENANT_RPM_EXCEEDED', tenant: { rpm_limit: ROOM } },
  {
    name: 'tokens a minute',
    status: 429,
    code: 'TENANT_TPM_EXCEEDED',
    // The few tokens of a prompt are less than half a call, for all hundred together.
    tenant: { tpm_limit: ROOM * OUTPUT_TOKENS + OUTPUT_TOKENS / 2 },
    isFreedByEnds: true,
  },
  {
    name: 'open calls',
    status: 429,
    code: 'CONCURRENCY_EXCEEDED',
    tenant: { concurrency_limit: ROOM },
    isFreedByEnds: true,
  },
  { name: 'the budget of a key', status: 402, code: 'QUOTA_BUDGET_EXCEEDED', key: fieldOfKey('budget_usd') },
  {
    name: 'USD of a key in 5 hours',
    status: 429,
    code: 'API_KEY_RATE_LIMIT_5H_EXCEEDED',
    key: fieldOfKey('limit_5h_usd'),
  },
  {
    name: 'USD of a key in a day',
    status: 429,
    code: 'API_KEY_RATE_LIMIT_1D_EXCEEDED',
    key: fieldOfKey('limit_1d_usd'),
  },
  {
    name: 'USD of a key in a week',
    status: 429,
    code: 'API_KEY_RATE_LIMIT_7D_EXCEEDED',
    key: fieldOfKey('limit_7d_usd'),
  },
  ...(['day', 'week', 'month'] as const).map((window): Scope => ({
    name: `USD of a user on a platform, ${window}`,
    status: 429,
    code: `USER_PLATFORM_${PERIODS[window].toUpperCase()}_QUOTA_EXHAUSTED`,
    key: (access, tenantId) => userWithQuota(access, tenantId, { [`${PERIODS[window]}_limit_usd`]: USD_FOR_ROOM }),
  })),
  ...(['day', 'week', 'month'] as const).map((window): Scope => ({
    name: `USD of a subscription, ${window}`,
    status: 429,
    code: `${PERIODS[window].toUpperCase()}_LIMIT_EXCEEDED`,
    key: (access, tenantId) =>
      groupWithSubscription(access, tenantId, { [`${PERIODS[window]}_limit_usd`]: USD_FOR_ROOM }),
  })),
  {
    name: 'requests a minute in a group',
    status: 429,
    code: 'GROUP_RPM_EXCEEDED',
    key: async (access, tenantId) => ({
      group_id: await made(access, 'groups', { tenant_id: tenantId, name: 'limited', rpm_limit: ROOM }),
    }),
  },
  {
    name: 'requests a minute of a user, by override in a group',
    status: 429,
    code: 'GROUP_RPM_EXCEEDED',
    key: async (access, tenantId) => {
      const groupId = await made(access, 'groups', { tenant_id: tenantId, name: 'wide', rpm_limit: 10 * ROOM });
      const userId = await made(access, 'users', { tenant_id: tenantId, name: 'one' });
      await adminCall(access, 'PUT', `groups/${groupId}/rpm-overrides/${userId}`, { rpm_limit: ROOM });
      return { group_id: groupId, user_id: userId };
    },
  },
  {
    name: 'requests a minute of a user',
    status: 429,
    code: 'USER_RPM_EXCEEDED',
    key: async (access, tenantId) => ({
      user_id: await made(access, 'users', { tenant_id: tenantId, name: 'one', rpm_limit: ROOM }),
    }),
  },
];

describe('a thousand calls at once against three gateways, with room for a hundred', () => {
  let stage: MoneyStage;
  let gateways: readonly TestGateway[];
  let first: TestGateway;

  beforeAll(async () => {
    stage = await MoneyStage.open();
    first = await stage.startGateway();
    gateways = [first, await stage.startGateway(), await stage.startGateway()];
    await stage.paidModel(first, { model: MODEL, price: PRICE });
  }, 120_000);

  afterAll(() => stage.close(), 30_000);

  /** A tenant of its own, with a key as the scope wants it. */
  async function callerOf({ tenant, key }: Caller): Promise<{ tenantId: string; key: string }> {
    const tenantId = await made(first, 'tenants', {
      name: 'contended',
      initial_balance_usd: '10',
      daily_quota: null,
      monthly_quota: null,
      ...tenant,
    });
    const created = await createApiKey(first, tenantId, (await key?.(first, tenantId)) ?? {});
    return { tenantId, key: created.key };
  }

  async function storm(key: string, simulate: object): Promise<ClientRecord[]> {
    const clients = new ClientLog();
    const records = await Promise.all(
      Array.from({ length: CALLS }, (_, index) =>
        clients.call(gateways[index % gateways.length]?.url ?? '', {
          key,
          model: MODEL,
          isStream: index % 4 === 3,
          fields: { x_simulate: simulate, max_completion_tokens: OUTPUT_TOKENS },
        }),
      ),
    );
    clients.close();
    return records;
  }

  async function expectExactly(room: number, records: readonly ClientRecord[], tenantId: string): Promise<void> {
    await stage.quiet([tenantId]);
    expect(records.filter(({ outcome }) => outcome === 'answered')).toHaveLength(room);
    const rows = await readLedger(stage.pool, [tenantId]);
    const verdict = compareLogs({ clients: records, served: stage.simulator.served(), rows, price: KNOWN_PRICE });
    expect(verdict.violations).toEqual([]);
  }

  it.each(SCOPES)(
    'exactly 100 pass for $name',
    async ({ status, code, isFreedByEnds, ...caller }) => {
      const { tenantId, key } = await callerOf(caller);
      const records = await storm(key, isFreedByEnds ? ALL_AT_ONCE : {});
      const refused = records.filter((record) => record.status === status);
      expect(refused).toHaveLength(CALLS - ROOM);
      expect(new Set(refused.map((record) => errorOf(record).code))).toEqual(new Set([code]));
      await expectExactly(ROOM, records, tenantId);
    },
    120_000,
  );

  it.each(Array.from({ length: WALLET_ROUNDS }, (_, round) => round + 1))(
    'exactly 100 pass for the balance, round %i',
    async () => {
      const { tenantId, key } = await callerOf({ tenant: { initial_balance_usd: USD_FOR_ROOM } });
      const records = await storm(key, {});
      expect(records.filter(({ status }) => status === 402)).toHaveLength(CALLS - ROOM);
      await expectExactly(ROOM, records, tenantId);
      expect(await stage.posted(tenantId)).toEqual({ wallet: 0n, overrun: 0n });
    },
    120_000,
  );

  it('exactly 100 are free of 1,000 that have no other money', async () => {
    const { tenantId, key } = await callerOf({
      tenant: { initial_balance_usd: '0', free_allowances: { chat: ROOM } },
    });
    const records = await storm(key, {});
    const refused = records.filter(({ status }) => status === 402);
    expect(refused).toHaveLength(CALLS - ROOM);
    expect(new Set(refused.map((record) => errorOf(record).code))).toEqual(new Set(['QUOTA_BALANCE_EXCEEDED']));
    await stage.quiet([tenantId]);
    expect(records.filter(({ outcome }) => outcome === 'answered')).toHaveLength(ROOM);
    expect(await stage.posted(tenantId)).toEqual({ wallet: 0n, overrun: 0n });
    const { rows } = await stage.pool.query<{ name: string; granted: string }>(
      `select a.name, sum(t.amount_nano_usd) as granted
         from billing_transaction b
         join ledger_transfer t on t.transaction_id = b.id
         join ledger_account a on a.id = t.debit_account_id
        where b.tenant_id = $1 group by a.name`,
      [tenantId],
    );
    expect(rows).toEqual([{ name: 'granted:allowance', granted: String(ROOM * 1_000_000) }]);
  }, 60_000);

  it('leaves every invariant whole', async () => {
    expect(await invariantsOf(first)).toEqual(ALL_HOLD);
  }, 60_000);
});
