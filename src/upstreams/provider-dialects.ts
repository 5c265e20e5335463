import type { ApiDialect, ProviderKind } from './upstream.port';

/** Records, so that a dialect or kind that is added must be added here. */
const DIALECTS: Readonly<Record<ApiDialect, true>> = {
  'openai-chat': true,
  'openai-responses': true,
  'anthropic-messages': true,
  'openai-embeddings': true,
};
export const API_DIALECTS = Object.keys(DIALECTS) as ApiDialect[];

/** What a provider of a kind can speak. Some that take bearer tokens speak Anthropic's dialect too. */
const SPOKEN: Readonly<Record<ProviderKind, readonly ApiDialect[]>> = {
  openai: API_DIALECTS,
  anthropic: ['anthropic-messages'],
};
export const PROVIDER_KINDS = Object.keys(SPOKEN) as ProviderKind[];

/** Hosts whose servers are known to speak OpenAI's Responses API; of others it must be said. */
const RESPONSES_HOST = /(^|\.)openai\.com$|\.openai\.azure\.com$/;

export function dialectsOfKind(kind: ProviderKind): readonly ApiDialect[] {
  return SPOKEN[kind];
}

/** What a provider is taken to speak where nobody says. Takes a valid base URL. */
export function defaultDialects(kind: ProviderKind, baseUrl: string): ApiDialect[] {
  if (kind === 'anthropic') return ['anthropic-messages'];
  return RESPONSES_HOST.test(new URL(baseUrl).hostname)
    ? ['openai-chat', 'openai-responses', 'openai-embeddings']
    : ['openai-chat', 'openai-embeddings'];
}
