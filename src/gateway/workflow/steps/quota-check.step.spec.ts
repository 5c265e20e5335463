import fc from 'fast-check';
import { Charges } from '../../../billing/settlement/charges';
import { costOf, type FrozenPrice, type ModelProfile, TOKEN_BUCKETS } from '../../../catalogue/price';
import { refuse } from '../../../kernel/errors';
import { nanoUsd, type NanoUsd } from '../../../kernel/money';
import { Metrics } from '../../../platform/metrics/metrics';
import type { HoldRequest, QuotaStore } from '../../../quota/quota-store.port';
import { ScopePlans } from '../../../quota/scopes/scope-plans';
import type { RoutableUpstream } from '../../../upstreams/upstream-directory';
import { DIALECTS } from '../../dialects/dialects';
import type { InferenceRequest } from '../../dialects/inference-request';
import { type ChatRequest, parseChatRequest } from '../../dialects/openai-chat/chat-request';
import { usageFromOpenAi } from '../../dialects/openai-chat/usage';
import { WorkflowContext } from '../workflow.context';
import { QuotaCheckStep } from './quota-check.step';

const SEED = 20_261_122;

const PRINCIPAL = { apiKeyId: 'key', apiKeyName: 'the key', limits: { tenantId: 'tenant' } };

const PROFILE: ModelProfile = {
  model: 'm',
  isReasoning: false,
  defaultOutputReserveTokens: 1_024,
  maxOutputTokens: null,
  tokensPerImage: 1_500,
};

function chatOf(body: object): ChatRequest {
  const chat = parseChatRequest(Buffer.from(JSON.stringify({ model: 'm', ...body })));
  if ('code' in chat) throw new Error(JSON.stringify(chat));
  return chat;
}

function priceOf(perMillion: readonly bigint[]): FrozenPrice {
  return {
    version: '1',
    perMillionTokens: Object.fromEntries(
      TOKEN_BUCKETS.map((bucket, at) => [bucket, perMillion[at] ?? 0n]),
    ) as FrozenPrice['perMillionTokens'],
    tiers: [],
    perRequestNanoUsd: nanoUsd(0n),
    multiplierMillionths: 1_000_000n,
  };
}

/** What the step asks the quota for. */
async function askedFor(chat: InferenceRequest, price: FrozenPrice): Promise<HoldRequest> {
  let asked: HoldRequest | undefined;
  const store = {
    reserve: (request: HoldRequest) => {
      asked = request;
      return Promise.resolve({ admitted: false, refusal: refuse('QUOTA_BALANCE_EXCEEDED') });
    },
  };
  const step = new QuotaCheckStep(
    store as unknown as QuotaStore,
    Object.assign(Object.create(Charges.prototype) as Charges, { opens: () => () => undefined }),
    Object.create(ScopePlans.prototype) as ScopePlans,
    new Metrics(),
  );
  const context = new WorkflowContext({ principal: PRINCIPAL, traceId: 'trace', channel: 'external' } as never);
  context.validation = { request: chat };
  const candidates = [{ kind: 'openai' } as RoutableUpstream];
  context.routing = { model: 'm', candidates, price, profile: PROFILE };
  context.templateRender = { candidates } as unknown as WorkflowContext['templateRender'];
  await step.execute(context);
  if (asked === undefined) throw new Error('nothing was reserved');
  return asked;
}

async function heldFor(chat: ChatRequest, price: FrozenPrice): Promise<NanoUsd> {
  return (await askedFor(chat, price)).amount;
}

const hello = { messages: [{ role: 'user', content: 'hello' }] };
const spoken = {
  messages: [
    { role: 'user', content: [{ type: 'input_audio', input_audio: { data: 'A'.repeat(48_000), format: 'wav' } }] },
  ],
};
const shown = {
  messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://example.com/a.png' } }] }],
};

/** Tokens that the estimate assumes at most: of 3 bytes each, of 24 characters of audio data, 1,500 an image. */
const REQUESTS: readonly {
  name: string;
  body: object;
  inputTokens: number;
  hasAudio: boolean;
  asksForAudio: boolean;
}[] = [
  { name: 'text', body: hello, inputTokens: 20, hasAudio: false, asksForAudio: false },
  { name: 'audio in', body: spoken, inputTokens: 2_000, hasAudio: true, asksForAudio: false },
  { name: 'images in', body: shown, inputTokens: 1_500, hasAudio: false, asksForAudio: false },
  {
    name: 'audio out by modalities',
    body: { ...hello, modalities: ['text', 'audio'] },
    inputTokens: 20,
    hasAudio: false,
    asksForAudio: true,
  },
  {
    name: 'audio out by voice',
    body: { ...hello, audio: { voice: 'alloy', format: 'wav' } },
    inputTokens: 20,
    hasAudio: false,
    asksForAudio: true,
  },
  {
    name: 'audio both ways',
    body: { ...spoken, modalities: ['text', 'AUDIO'] },
    inputTokens: 2_000,
    hasAudio: true,
    asksForAudio: true,
  },
];

describe('what is held for a call', () => {
  it.each(REQUESTS)('$name: covers every usage that fits the assumptions, however it is split', async (request) => {
    const MAX_OUTPUT = 700;
    const chat = chatOf({ ...request.body, max_completion_tokens: MAX_OUTPUT });
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.bigInt({ min: 0n, max: 200_000_000_000n }), { minLength: 7, maxLength: 7 }),
        fc.array(share, { minLength: 6, maxLength: 6 }),
        async (prices, [prompt = 0, cached = 0, inAudio = 0, completion = 0, reasoning = 0, outAudio = 0]) => {
          const price = priceOf(prices);
          const promptTokens = Math.floor(prompt * request.inputTokens);
          const completionTokens = Math.floor(completion * MAX_OUTPUT);
          const tokens = usageFromOpenAi({
            prompt_tokens: promptTokens,
            completion_tokens: completionTokens,
            total_tokens: promptTokens + completionTokens,
            prompt_tokens_details: {
              cached_tokens: Math.floor(cached * promptTokens),
              audio_tokens: request.hasAudio ? Math.floor(inAudio * promptTokens) : 0,
            },
            completion_tokens_details: {
              reasoning_tokens: Math.floor(reasoning * completionTokens),
              audio_tokens: request.asksForAudio ? Math.floor(outAudio * completionTokens) : 0,
            },
          });
          if (!tokens) throw new Error('not credible');
          expect(costOf(tokens, price)).toBeLessThanOrEqual(await heldFor(chat, price));
        },
      ),
      { seed: SEED, numRuns: 300 },
    );
  });

  it('takes the price of audio and images into account where they may come, and only there', async () => {
    const dearAudio = priceOf([1n, 1n, 1n, 1n, 1n, 1_000_000_000n, 1n]);
    const dearImages = priceOf([1n, 1n, 1n, 1n, 1n, 1n, 1_000_000_000n]);
    expect(await heldFor(chatOf(hello), dearAudio)).toBeLessThan(100n);
    expect(await heldFor(chatOf(shown), dearAudio)).toBeLessThan(100n);
    expect(await heldFor(chatOf({ ...hello, modalities: ['text', 'audio'] }), dearAudio)).toBeGreaterThanOrEqual(
      1_024_000n,
    );
    expect(await heldFor(chatOf({ ...hello, modalities: ['image', 'text'] }), dearImages)).toBeGreaterThanOrEqual(
      1_024_000n,
    );
    expect(await heldFor(chatOf({ ...hello, modalities: ['text'] }), dearImages)).toBeLessThan(100n);
  });
});

describe('what is asked of the quota', () => {
  it('counts the input as estimated and the output of every choice as tokens', async () => {
    const chat = chatOf({ ...hello, max_completion_tokens: 100, n: 3 });
    const { tokens } = await askedFor(chat, priceOf([]));
    expect(tokens).toBe(Math.ceil(chat.promptTextBytes / 3) + 300);
  });

  it('is of a service of its own for embeddings, which has an allowance of its own', async () => {
    const request = DIALECTS['openai-embeddings'].parseRequest(Buffer.from('{"model":"m","input":"Hello"}'));
    if ('code' in request) throw new Error('the request is refused');
    expect(await askedFor(request, priceOf([]))).toMatchObject({ service: 'embeddings' });
  });

  it('names the service, the kind of the first candidate, and what the PENDING row says of the call', async () => {
    const request = await askedFor(chatOf({ ...hello, stream: true }), priceOf([2n]));
    expect(request).toMatchObject({ service: 'chat', platform: 'openai', limits: PRINCIPAL.limits });
    expect(request.pending).toEqual({
      trace_id: 'trace',
      channel: 'external',
      input_tokens_estimate: 25,
      is_stream: true,
      api_key_id: 'key',
      api_key_name: 'the key',
      model: 'm',
      price_version: '1',
      prices: expect.objectContaining({ input_uncached: '2', multiplier_millionths: '1000000' }) as unknown,
    });
  });
});
