import { type MockUpstream, upstreamBaseUrl } from '../mock-upstream';
import { type Caller, INPUT_USD_PER_MTOK, OUTPUT_USD_PER_MTOK, SCENARIOS } from '../scenarios';
import { type AdminClient, textField } from './admin-client';

const NANO_USD_PER_USD = 1_000_000_000n;
const INITIAL_BALANCE_USD = 1_000_000n;
export const INITIAL_BALANCE_NANO_USD = INITIAL_BALANCE_USD * NANO_USD_PER_USD;

/** Limits that no bench reaches, so that each is looked at and counted and none refuses. */
const FAR = 1_000_000_000_000;
const FAR_USD = '1000000';

export interface BenchTenant {
  readonly tenantId: string;
  readonly key: string;
  /** Calls of its free allowance: paid by the house, and used up by the first ones. */
  readonly freeCalls: number;
}

/** Both tenants, and for each scenario a provider, a price and an upstream, through the admin API. */
export async function setUp(admin: AdminClient, mock: MockUpstream): Promise<Readonly<Record<Caller, BenchTenant>>> {
  for (const scenario of Object.values(SCENARIOS)) {
    const provider = await admin.post('providers', {
      name: `mock ${scenario.name}`,
      kind: 'openai',
      base_url: upstreamBaseUrl(mock, scenario),
      api_key: 'sk-upstream',
    });
    const { model } = scenario;
    await admin.post('prices', {
      model,
      input_usd_per_mtok: INPUT_USD_PER_MTOK,
      output_usd_per_mtok: OUTPUT_USD_PER_MTOK,
    });
    await admin.post('upstreams', {
      provider_id: textField(provider, 'id'),
      name: model,
      model,
      upstream_model: model,
    });
  }
  return { unlimited: await createUnlimited(admin), limited: await createLimited(admin) };
}

async function createUnlimited(admin: AdminClient): Promise<BenchTenant> {
  const tenant = await admin.post('tenants', {
    name: 'bench',
    initial_balance_usd: String(INITIAL_BALANCE_USD),
    daily_quota: null,
    monthly_quota: null,
  });
  const tenantId = textField(tenant, 'id');
  const key = await admin.post(`tenants/${tenantId}/api-keys`, { name: 'bench' });
  return { tenantId, key: textField(key, 'key'), freeCalls: 0 };
}

/** Every scope that a call in wallet mode can meet: fifteen, and the balance. */
async function createLimited(admin: AdminClient): Promise<BenchTenant> {
  const freeCalls = 1;
  const tenant = await admin.post('tenants', {
    name: 'bench with every limit',
    initial_balance_usd: String(INITIAL_BALANCE_USD),
    daily_quota: FAR,
    monthly_quota: FAR,
    rpm_limit: FAR,
    tpm_limit: FAR,
    concurrency_limit: FAR,
    free_allowances: { chat: freeCalls },
  });
  const tenantId = textField(tenant, 'id');
  const user = await admin.post('users', { tenant_id: tenantId, name: 'bench', rpm_limit: FAR });
  const userId = textField(user, 'id');
  await admin.post('user-platform-quotas', {
    user_id: userId,
    platform: 'openai',
    daily_limit_usd: FAR_USD,
    weekly_limit_usd: FAR_USD,
    monthly_limit_usd: FAR_USD,
  });
  const group = await admin.post('groups', { tenant_id: tenantId, name: 'bench', rpm_limit: FAR });
  const key = await admin.post(`tenants/${tenantId}/api-keys`, {
    name: 'bench',
    budget_usd: FAR_USD,
    limit_5h_usd: FAR_USD,
    limit_1d_usd: FAR_USD,
    limit_7d_usd: FAR_USD,
    user_id: userId,
    group_id: textField(group, 'id'),
  });
  return { tenantId, key: textField(key, 'key'), freeCalls };
}
