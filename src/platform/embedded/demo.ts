import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPrivateJson, writePrivateJson } from './private-json';

/** config/demo/demo.json: the bodies of the admin calls, without the ids that come from the calls before. */
interface DemoPlan {
  readonly provider: { readonly name: string };
  readonly models: readonly { readonly model: string; readonly price: object }[];
  readonly tenant: object;
  readonly api_key: object;
}

export interface DemoOptions {
  readonly gatewayUrl: string;
  readonly adminToken: string;
  readonly simulatorUrl: string;
  readonly projectFolder: string;
  /** demo.json of the data folder: what was loaded, and the key, which the gateway shows only once. */
  readonly stateFile: string;
}

export interface Demo {
  readonly key: string;
  readonly model: string;
}

/** The port the demo's simulator had last time, or the first to try. */
export function simulatorPort(stateFile: string): number {
  return Number(readPrivateJson(stateFile).simulator_port ?? '4010');
}

/**
 * Loads the demo once through the admin API, as anybody would. Each step is remembered as soon as it is done, so a
 * start that was cut off goes on where it was; a state that another database made is forgotten.
 */
export async function loadDemo(options: DemoOptions): Promise<Demo> {
  const planFile = join(options.projectFolder, 'config', 'demo', 'demo.json');
  const plan = JSON.parse(readFileSync(planFile, 'utf8')) as DemoPlan;
  const state = await stillTrue(options, readPrivateJson(options.stateFile));
  const once = async (step: string, work: () => Promise<string>): Promise<string> => {
    const value = state[step] ?? (await work());
    state[step] = value;
    writePrivateJson(options.stateFile, state);
    return value;
  };
  state.simulator_port = new URL(options.simulatorUrl).port;
  const providerId = await once('provider_id', () => ensureProvider(options, plan));
  await pointProvider(options, providerId);
  for (const { model, price } of plan.models) {
    await once(`upstream_id:${model}`, () =>
      create(options, 'upstreams', { provider_id: providerId, model, upstream_model: model }, 'id'),
    );
    await once(`price_of:${model}`, () => create(options, 'prices', { model, ...price }, 'model'));
  }
  const tenantId = await once('tenant_id', () => create(options, 'tenants', plan.tenant, 'id'));
  const key = await once('key', () => create(options, `tenants/${tenantId}/api-keys`, plan.api_key, 'key'));
  return { key, model: plan.models[0]?.model ?? '' };
}

/** What of the state the database still holds: another DATABASE_URL, or one made anew, knows nothing of it. */
async function stillTrue(
  options: DemoOptions,
  state: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const { provider_id: providerId, key, ...rest } = state;
  if (providerId === undefined || !(await send(options, 'GET', `providers/${providerId}`)).ok) return {};
  const known = { ...rest, provider_id: providerId };
  if (key === undefined) return known;
  const authorization = `Bearer ${key}`;
  const balance = await fetch(`${options.gatewayUrl}/v1/balance`, { headers: { authorization } });
  // Revoked, or voided by another KEY_PEPPER: the tenant that is there gets a new one.
  return balance.status === 401 ? known : { ...known, key };
}

/** Provider names are unique: one that a cut-off start made is found again. */
async function ensureProvider(options: DemoOptions, plan: DemoPlan): Promise<string> {
  const response = await send(options, 'GET', 'providers?limit=100');
  const { data } = (await okJson(response, 'GET providers')) as { data: { id: string; name: string }[] };
  const existing = data.find((provider) => provider.name === plan.provider.name);
  return existing?.id ?? create(options, 'providers', { ...plan.provider, base_url: baseUrl(options) }, 'id');
}

/** Only where the simulator has moved: a start that changes nothing leaves nothing in the audit log. */
async function pointProvider(options: DemoOptions, providerId: string): Promise<void> {
  const provider = await okJson(await send(options, 'GET', `providers/${providerId}`), 'GET providers');
  if ((provider as { base_url?: unknown }).base_url === baseUrl(options)) return;
  const response = await send(options, 'PATCH', `providers/${providerId}`, { base_url: baseUrl(options) });
  await okJson(response, 'PATCH providers');
}

function baseUrl({ simulatorUrl }: DemoOptions): string {
  return `${simulatorUrl}/v1`;
}

async function create(options: DemoOptions, path: string, body: object, field: string): Promise<string> {
  const answer = await okJson(await send(options, 'POST', path, body), `POST ${path}`);
  const value: unknown = typeof answer === 'object' && answer !== null ? Reflect.get(answer, field) : undefined;
  if (typeof value !== 'string')
    throw new Error(`the demo could not be loaded: POST ${path} answered without ${field}`);
  return value;
}

function send(options: DemoOptions, method: string, path: string, body?: object): Promise<Response> {
  return fetch(`${options.gatewayUrl}/admin/v1/${path}`, {
    method,
    headers: { authorization: `Bearer ${options.adminToken}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(10_000),
  });
}

async function okJson(response: Response, what: string): Promise<unknown> {
  const text = await response.text();
  if (!response.ok) throw new Error(`the demo could not be loaded: ${what} answered ${response.status} ${text}`);
  return JSON.parse(text);
}
