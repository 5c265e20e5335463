import { type AdminAccess, adminCall, textField } from './admin-client';

let made = 0;

/** Returns the provider's id; `base_url` is where a simulator listens, with its `/v1`. */
export async function createProvider(
  access: AdminAccess,
  fields: { base_url: string } & Readonly<Record<string, unknown>>,
): Promise<string> {
  made += 1;
  const body = { name: `provider ${process.pid}-${made}`, kind: 'openai', api_key: 'sk-upstream-test', ...fields };
  return textField(await adminCall(access, 'POST', 'providers', body), 'id');
}

/** A provider that is called as Anthropic is; `url` is where a simulator listens. */
export function createAnthropicProvider(access: AdminAccess, url: string): Promise<string> {
  return createProvider(access, { base_url: url, kind: 'anthropic' });
}

/** A provider that speaks all of OpenAI's dialects, as OpenAI does; `url` is where a simulator listens. */
export function createOpenAiProvider(access: AdminAccess, url: string): Promise<string> {
  const dialects = ['openai-chat', 'openai-responses', 'openai-embeddings'];
  return createProvider(access, { base_url: `${url}/v1`, dialects });
}

/** Returns the upstream's id. The upstream model is the model's own name unless given. */
export async function createUpstream(
  access: AdminAccess,
  fields: { provider_id: string; model: string } & Readonly<Record<string, unknown>>,
): Promise<string> {
  const body = { upstream_model: fields.model, ...fields };
  return textField(await adminCall(access, 'POST', 'upstreams', body), 'id');
}

/** 1 USD a million input tokens, 2 USD a million output tokens unless given. */
export async function createPrice(
  access: AdminAccess,
  fields: { model: string } & Readonly<Record<string, unknown>>,
): Promise<void> {
  const body = { input_usd_per_mtok: '1', output_usd_per_mtok: '2', ...fields };
  await adminCall(access, 'POST', 'prices', body);
}
