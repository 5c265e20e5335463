import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProjectRoot } from '../../platform/config/project-root';
import { GENAI_PRICES_VERSION, genaiList } from './genai-list';
import { type LiteLlmEntry, litellmList } from './litellm-list';
import type { ListedPrice, PriceList, SkippedModel } from './price-list';

const each = (input: bigint, output: bigint): ListedPrice['perMillionTokens'] => ({
  ...{ inputUncached: input, inputCached: input, cacheWrite: input, output, reasoning: output },
  ...{ audio: input > output ? input : output, image: input },
});

function readOne(entry: LiteLlmEntry, model = 'm'): ListedPrice | SkippedModel {
  const { listed, skipped } = litellmList({ [model]: { mode: 'chat', ...entry } }, undefined);
  const [read] = [...listed, ...skipped];
  if (!read) throw new Error('nothing was read');
  return read;
}

const TOKENS = { input_cost_per_token: '1e-06', output_cost_per_token: '2e-06' };

describe('LiteLLM’s price map', () => {
  it('gives every bucket what it names, per million tokens', () => {
    const read = readOne({
      input_cost_per_token: '3e-06',
      cache_read_input_token_cost: '3e-07',
      cache_creation_input_token_cost: '3.75e-06',
      output_cost_per_token: '0.000015',
      output_cost_per_reasoning_token: '1.6e-05',
      input_cost_per_audio_token: '1e-05',
      output_cost_per_audio_token: '2e-05',
      input_cost_per_image_token: '5e-06',
      input_cost_per_request: '0.005',
      cache_creation_input_token_cost_above_1hr: '6e-06',
      input_cost_per_token_batches: '1.5e-06',
      output_cost_per_token_priority: '3e-05',
      search_context_cost_per_query: { search_context_size_low: '0.01' },
      citation_cost_per_token: null,
      max_output_tokens: '64000',
      max_tokens: '1',
      supports_reasoning: true,
    });
    expect(read).toEqual({
      model: 'm',
      perMillionTokens: {
        inputUncached: 3_000_000_000n,
        inputCached: 300_000_000n,
        cacheWrite: 3_750_000_000n,
        output: 15_000_000_000n,
        reasoning: 16_000_000_000n,
        audio: 20_000_000_000n,
        image: 5_000_000_000n,
      },
      tiers: [],
      perRequestNanoUsd: 5_000_000n,
      maxOutputTokens: 64_000,
      isReasoning: true,
      ignored: [
        'cache_creation_input_token_cost_above_1hr',
        'input_cost_per_token_batches',
        'output_cost_per_token_priority',
        'search_context_cost_per_query',
      ],
      isRounded: false,
    });
  });

  it('leaves no bucket without a price, and says nothing of a model that it does not', () => {
    expect(readOne(TOKENS)).toMatchObject({
      perMillionTokens: each(1_000_000_000n, 2_000_000_000n),
      maxOutputTokens: undefined,
      isReasoning: undefined,
    });
  });

  it('has tiers for longer inputs; what a tier does not name costs what it does below', () => {
    const read = readOne({
      ...TOKENS,
      cache_read_input_token_cost: '1e-07',
      input_cost_per_token_above_200k_tokens: '4e-06',
      output_cost_per_token_above_200k_tokens: '6e-06',
      input_cost_per_token_above_128k_tokens: '2e-06',
      cache_read_input_token_cost_above_200k_tokens: '4e-07',
      cache_creation_input_token_cost_above_1hr_above_200k_tokens: '9e-06',
    });
    expect(read).toMatchObject({
      perMillionTokens: { ...each(1_000_000_000n, 2_000_000_000n), inputCached: 100_000_000n },
      tiers: [
        {
          aboveInputTokens: 128_000,
          perMillionTokens: { ...each(2_000_000_000n, 2_000_000_000n), inputCached: 100_000_000n },
        },
        {
          aboveInputTokens: 200_000,
          perMillionTokens: { ...each(4_000_000_000n, 6_000_000_000n), inputCached: 400_000_000n },
        },
      ],
      ignored: ['cache_creation_input_token_cost_above_1hr_above_200k_tokens'],
    });
  });

  it('rounds up what is finer than a nano-USD a million tokens, and says so', () => {
    expect(readOne({ ...TOKENS, input_cost_per_token: '2.9999999999999997e-07' })).toMatchObject({
      perMillionTokens: { inputUncached: 300_000_000n },
      isRounded: true,
    });
  });

  it.each<[string, LiteLlmEntry, Partial<SkippedModel>]>([
    ['no mode', { ...TOKENS, mode: undefined }, { reason: 'not_chat' }],
    ['an embedding', { ...TOKENS, mode: 'embedding' }, { reason: 'not_chat' }],
    ['no price at all', { max_tokens: '1' }, { reason: 'no_prices' }],
    ['no output price', { input_cost_per_token: '1e-06' }, { reason: 'no_prices' }],
    [
      'prices for seconds only',
      { input_cost_per_second: '1' },
      { reason: 'unit_unknown', field: 'input_cost_per_second' },
    ],
    [
      'a price that is no number',
      { ...TOKENS, input_cost_per_audio_token: 'free' },
      { reason: 'unit_unknown', field: 'input_cost_per_audio_token' },
    ],
    [
      'a negative price',
      { ...TOKENS, output_cost_per_token: '-1' },
      { reason: 'unit_unknown', field: 'output_cost_per_token' },
    ],
    [
      'ranges instead of thresholds',
      { ...TOKENS, tiered_pricing: [{ range: ['0', '1'] }] },
      { reason: 'unit_unknown', field: 'tiered_pricing' },
    ],
    [
      'more than 100,000 USD a million tokens',
      { ...TOKENS, output_cost_per_token: '0.11' },
      { reason: 'out_of_bounds' },
    ],
    ['more than 100,000 USD a request', { ...TOKENS, input_cost_per_request: '100001' }, { reason: 'out_of_bounds' }],
    [
      'more tiers than a price can have',
      {
        ...TOKENS,
        ...Object.fromEntries(
          Array.from({ length: 17 }, (_, at) => [`input_cost_per_token_above_${at + 1}k_tokens`, '1']),
        ),
      },
      { reason: 'out_of_bounds' },
    ],
  ])('skips a model with %s', (_, entry, expected) => {
    expect(readOne(entry)).toEqual({ model: 'm', ...expected });
  });

  it.each(['', ' m', 'm\n', 'x'.repeat(201)])('skips the name %j', (name) => {
    expect(readOne(TOKENS, name)).toMatchObject({ reason: 'bad_name' });
  });

  it('is read for the providers that are asked for', () => {
    const map = {
      a: { mode: 'chat', ...TOKENS, litellm_provider: 'openai' },
      b: { mode: 'chat', ...TOKENS, litellm_provider: 'azure' },
      c: { mode: 'embedding', litellm_provider: 'azure' },
    };
    const { listed, skipped } = litellmList(map, new Set(['openai']));
    expect([listed.map(({ model }) => model), skipped]).toEqual([['a'], []]);
  });
});

describe('the list of @pydantic/genai-prices', () => {
  const AT_MS = Date.parse('2026-11-21T00:00:00Z');

  function readAt(atMs: number, ...providers: string[]): PriceList {
    const list = genaiList(providers, atMs);
    if ('unknownProvider' in list) throw new Error(list.unknownProvider);
    return list;
  }
  const priceOf = (list: PriceList, model: string): ListedPrice | undefined =>
    list.listed.find((listed) => listed.model === model);

  it('is named with the version that is installed', () => {
    const manifest = JSON.parse(readFileSync(join(findProjectRoot(), 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    expect(manifest.dependencies['@pydantic/genai-prices']).toBe(GENAI_PRICES_VERSION);
    expect(readAt(AT_MS, 'openai').name).toBe(`genai-prices ${GENAI_PRICES_VERSION}`);
  });

  it('gives prices by the decimal text of its numbers', () => {
    // 0.15, 0.075 and 0.6 USD a million tokens.
    expect(priceOf(readAt(AT_MS, 'openai'), 'gpt-4o-mini')).toMatchObject({
      perMillionTokens: { ...each(150_000_000n, 600_000_000n), inputCached: 75_000_000n },
      tiers: [],
      maxOutputTokens: undefined,
      ignored: ['web_searches_kcount', 'storage_searches_kcount'],
      isRounded: false,
    });
  });

  it('gives its tiers as thresholds of the whole input', () => {
    expect(priceOf(readAt(AT_MS, 'anthropic'), 'claude-sonnet-4-5')).toMatchObject({
      perMillionTokens: { inputUncached: 3_000_000_000n, inputCached: 300_000_000n, cacheWrite: 3_750_000_000n },
      tiers: [
        {
          aboveInputTokens: 200_000,
          perMillionTokens: { inputUncached: 6_000_000_000n, inputCached: 600_000_000n, output: 22_500_000_000n },
        },
      ],
      ignored: ['cache_write_1h_mtok', 'web_searches_kcount'],
    });
  });

  it('gives the prices of the day', () => {
    const before = priceOf(readAt(Date.parse('2026-03-12T23:59:59Z'), 'anthropic'), 'claude-sonnet-4-6');
    const from = priceOf(readAt(Date.parse('2026-03-13T00:00:00Z'), 'anthropic'), 'claude-sonnet-4-6');
    expect([before?.tiers.length, from?.tiers.length]).toEqual([1, 0]);
  });

  it('skips what depends on the time of day, what is no chat, and what another provider has already', () => {
    const { listed, skipped } = readAt(AT_MS, 'openai', 'azure', 'deepseek');
    const reasons = new Map(skipped.map(({ model, reason, field }) => [model, field ?? reason]));
    expect(reasons.get('deepseek-chat')).toBe('depends_on_time_of_day');
    expect([...reasons.values()]).toContain('listed_twice');
    expect(readAt(AT_MS, 'openai').skipped).toContainEqual({ model: 'text-embedding-3-small', reason: 'no_prices' });
    const names = listed.map(({ model }) => model);
    expect(new Set(names).size).toBe(names.length);
  });

  it('does not guess a provider', () => {
    expect(genaiList(['openai', 'nobody'], AT_MS)).toEqual({ unknownProvider: 'nobody' });
  });
});
