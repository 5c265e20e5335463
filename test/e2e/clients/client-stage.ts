import {
  createAnthropicProvider,
  createOpenAiProvider,
  createPrice,
  createProvider,
  createUpstream,
} from '../../factories/upstreams';
import type { TestGateway } from '../../support/test-gateway';
import { anthropic } from './anthropic-client';
import type { Client, Reach } from './asked';
import { langChainClients } from './langchain-clients';
import { openAiChat, openAiResponses } from './openai-clients';
import { vercelClients } from './vercel-clients';

/** 2.5 USD input, 0.5 cached, 10 output a million tokens, 0.00001 USD a request. */
const PRICE = {
  input_usd_per_mtok: '2.5',
  cached_input_usd_per_mtok: '0.5',
  output_usd_per_mtok: '10',
  per_request_usd: '0.00001',
};

export const PROVIDERS = ['of chat alone', 'of OpenAI’s kind', 'of Anthropic’s kind'] as const;
export type ProviderName = (typeof PROVIDERS)[number];

export const CLIENTS = [
  'openai chat',
  'openai responses',
  'anthropic',
  'ai with @ai-sdk/openai responses',
  'ai with @ai-sdk/openai chat',
  'ai with @ai-sdk/anthropic',
  'ai with @ai-sdk/openai-compatible',
  'LangChain ChatOpenAI chat',
  'LangChain ChatOpenAI responses',
  'LangChain ChatAnthropic',
] as const;

export const RICH = { initial_balance_usd: '1000', daily_quota: null, monthly_quota: null };

export function clientsOf(reach: Reach): readonly Client[] {
  return [
    openAiChat(reach),
    openAiResponses(reach),
    anthropic(reach),
    ...vercelClients(reach),
    ...langChainClients(reach),
  ];
}

export function clientNamed(name: string, reach: Reach): Client {
  const client = clientsOf(reach).find((one) => one.name === name);
  if (!client) throw new Error(`no client ${name}`);
  return client;
}

const slugOf = (provider: ProviderName): string => provider.replace(/\W+/g, '-');
export const modelOf = (provider: ProviderName): string => `acme/${slugOf(provider)}`;
export const upstreamModelOf = (provider: ProviderName): string => `sim-${slugOf(provider)}`;

/** A model behind a provider of each kind, all of which listen at the URL. */
export async function connectProviders(gateway: TestGateway, url: string): Promise<void> {
  const providers: Record<ProviderName, string> = {
    'of chat alone': await createProvider(gateway, { base_url: `${url}/v1` }),
    'of OpenAI’s kind': await createOpenAiProvider(gateway, url),
    'of Anthropic’s kind': await createAnthropicProvider(gateway, url),
  };
  for (const provider of PROVIDERS) {
    const model = modelOf(provider);
    await createUpstream(gateway, {
      provider_id: providers[provider],
      model,
      upstream_model: upstreamModelOf(provider),
    });
    await createPrice(gateway, { model, ...PRICE });
  }
}

/** Notes the trace id of each answer. */
export function notingInto(traces: string[]): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    traces.push(response.headers.get('x-request-id') ?? 'none');
    return response;
  };
}
