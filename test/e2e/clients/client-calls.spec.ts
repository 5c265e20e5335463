import { OpenAIEmbeddings } from '@langchain/openai';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany } from 'ai';
import OpenAI from 'openai';
import { createApiKey, createTenant } from '../../factories/tenants';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../../support/gateway-stack';
import type { Dialect } from './asked';
import {
  connectProviders,
  modelOf,
  notingInto,
  type ProviderName,
  PROVIDERS,
  RICH,
  upstreamModelOf,
} from './client-stage';

const USAGE = { promptTokens: 1_000 };
/** 1,000 × 2,500 + 10,000 */
const EMBEDDING_NANO_USD = 2_510_000n;
const TEXTS = ['rain in Berlin', 'sun in São Paulo'];

describe('what clients ask beside plain conversations', () => {
  let stack: GatewayStack;
  let key: string;
  let traces: string[] = [];

  beforeAll(async () => {
    stack = await startGatewayStack();
    await connectProviders(stack.gateway, stack.simulator.url);
    ({ key } = await createApiKey(stack.gateway, await createTenant(stack.gateway, RICH)));
  }, 120_000);

  afterAll(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
    await stack.close();
  });

  beforeEach(() => {
    stack.simulator.reset();
    traces = [];
  });

  const settings = (): { baseURL: string; apiKey: string; fetch: typeof fetch } => ({
    ...{ baseURL: `${stack.gateway.url}/v1`, apiKey: key, fetch: notingInto(traces) },
  });

  /** By client: the vectors of TEXTS. */
  const EMBEDDERS: Readonly<Record<string, (model: string) => Promise<readonly number[][]>>> = {
    'openai, as numbers': async (model) => {
      const client = new OpenAI({ ...settings(), maxRetries: 0 });
      const { data } = await client.embeddings.create({ model, input: TEXTS, encoding_format: 'float' });
      return data.map(({ embedding }) => embedding);
    },
    // Asks for base64, and reads it.
    openai: async (model) => {
      const client = new OpenAI({ ...settings(), maxRetries: 0 });
      const { data } = await client.embeddings.create({ model, input: TEXTS });
      return data.map(({ embedding }) => embedding);
    },
    'ai with @ai-sdk/openai': async (model) => {
      const embedder = createOpenAI(settings()).embedding(model);
      return (await embedMany({ model: embedder, values: TEXTS, maxRetries: 0 })).embeddings;
    },
    'ai with @ai-sdk/openai-compatible': async (model) => {
      const embedder = createOpenAICompatible({ name: 'gateway', ...settings() }).embeddingModel(model);
      return (await embedMany({ model: embedder, values: TEXTS, maxRetries: 0 })).embeddings;
    },
    'LangChain OpenAIEmbeddings': (model) => {
      const { apiKey, ...configuration } = settings();
      return new OpenAIEmbeddings({ model, apiKey, configuration, maxRetries: 0 }).embedDocuments(TEXTS);
    },
  };

  describe.each(Object.keys(EMBEDDERS))('embeddings by %s', (name) => {
    it.each(['of chat alone', 'of OpenAI’s kind'] as const)('over a provider %s', async (provider) => {
      stack.simulator.script(upstreamModelOf(provider), USAGE);
      const vectors = await EMBEDDERS[name]?.(modelOf(provider));
      expect(vectors?.map((vector) => vector.length)).toEqual([16, 16]);
      expect(vectors?.[0]).not.toEqual(vectors?.[1]);
      await expectCharged(EMBEDDING_NANO_USD);
    });
  });

  it('are the same vectors as numbers and as base64', async () => {
    const model = modelOf('of OpenAI’s kind');
    const [numbers = [], base64 = []] = [
      await EMBEDDERS['openai, as numbers']?.(model),
      await EMBEDDERS.openai?.(model),
    ];
    for (const [at, vector] of numbers.entries()) {
      expect(base64[at]).toEqual(vector.map((value) => expect.closeTo(value, 6) as number));
    }
  });

  async function post(path: string, body: object): Promise<Response> {
    return notingInto(traces)(`${stack.gateway.url}/v1${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  }

  async function expectCharged(amountNanoUsd: bigint): Promise<void> {
    expect(traces).toHaveLength(1);
    expect(await stack.book.ended(traces[0] ?? '')).toMatchObject({
      ...{ status: 'COMMITTED', method: 'usage', amountNanoUsd, transferredNanoUsd: amountNanoUsd },
    });
  }

  const HELLO = { messages: [{ role: 'user', content: 'Hello' }] };
  const PATHS = {
    'openai-chat': ['/chat/completions', HELLO],
    'openai-responses': ['/responses', { input: 'Hello' }],
    'anthropic-messages': ['/messages', { ...HELLO, max_tokens: 100 }],
  } as const;
  const SEARCH = { type: 'web_search_20250305', name: 'web_search' };

  describe.each<[Dialect, ProviderName, string, object]>([
    ['openai-chat', 'of Anthropic’s kind', 'n', { n: 2 }],
    ['openai-chat', 'of Anthropic’s kind', 'logprobs', { logprobs: true }],
    ['openai-chat', 'of Anthropic’s kind', 'frequency_penalty', { frequency_penalty: 1 }],
    ['openai-chat', 'of Anthropic’s kind', 'logit_bias', { logit_bias: { '5': 1 } }],
    ['openai-chat', 'of Anthropic’s kind', 'seed', { seed: 7 }],
    ['openai-chat', 'of Anthropic’s kind', 'web_search_options', { web_search_options: {} }],
    ['openai-chat', 'of Anthropic’s kind', 'frobnicate', { frobnicate: 1 }],
    ['openai-responses', 'of chat alone', 'tools[0]', { tools: [{ type: 'web_search' }] }],
    ['openai-responses', 'of Anthropic’s kind', 'tools[0]', { tools: [{ type: 'web_search' }] }],
    ['openai-responses', 'of chat alone', 'frobnicate', { frobnicate: 1 }],
    ['anthropic-messages', 'of chat alone', 'top_k', { top_k: 5 }],
    ['anthropic-messages', 'of OpenAI’s kind', 'tools[0]', { tools: [SEARCH] }],
    [
      'anthropic-messages',
      'of OpenAI’s kind',
      'mcp_servers',
      { mcp_servers: [{ type: 'url', url: 'https://x', name: 'x' }] },
    ],
    ['anthropic-messages', 'of chat alone', 'frobnicate', { frobnicate: 1 }],
    ...PROVIDERS.flatMap((provider): [Dialect, ProviderName, string, object][] => [
      ['openai-responses', provider, 'previous_response_id', { previous_response_id: 'resp_1' }],
      ['openai-responses', provider, 'conversation', { conversation: 'conv_1' }],
      ['openai-responses', provider, 'background', { background: true }],
      ['openai-responses', provider, 'prompt', { prompt: { id: 'pmpt_1' } }],
    ]),
  ])('what cannot be said: %s over a provider %s', (dialect, provider, param, asked) => {
    it(`is a 400 that names ${param}, and nothing is sent or paid`, async () => {
      const [path, body] = PATHS[dialect];
      const response = await post(path, { model: modelOf(provider), ...body, ...asked });
      const { error } = (await response.json()) as { error: { param?: string; message: string } };
      expect(response.status).toBe(400);
      expect(error.param ?? error.message).toContain(param);
      expect(stack.simulator.served()).toEqual([]);
    });
  });

  it('has no embeddings by a provider that has none: nothing is sent or paid', async () => {
    const response = await post('/embeddings', { model: modelOf('of Anthropic’s kind'), input: 'x' });
    expect({ status: response.status, body: await response.json() }).toMatchObject({
      status: 400,
      body: { error: { param: 'model' } },
    });
    expect(stack.simulator.served()).toEqual([]);
  });
});
