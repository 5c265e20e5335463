import { NO_TOKENS } from '../../../catalogue/price';
import { usageFromAnthropic } from './usage';

describe('usageFromAnthropic', () => {
  it('adds cached tokens to the input, which does not include them', () => {
    expect(
      usageFromAnthropic({
        input_tokens: 100,
        cache_read_input_tokens: 2_000,
        cache_creation_input_tokens: 300,
        output_tokens: 50,
        server_tool_use: { web_search_requests: 3 },
        service_tier: 'standard',
      }),
    ).toEqual({ ...NO_TOKENS, inputUncached: 100, inputCached: 2_000, cacheWrite: 300, output: 50 });
  });

  it('sums what was written to the cache by its lifetime where no total is told', () => {
    const cache_creation = { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 5 };
    const counts = { input_tokens: 1, output_tokens: 1 };
    expect(usageFromAnthropic({ ...counts, cache_creation })).toMatchObject({ cacheWrite: 25 });
    const told = { ...counts, cache_creation, cache_creation_input_tokens: 30 };
    expect(usageFromAnthropic(told)).toMatchObject({ cacheWrite: 30 });
    expect(usageFromAnthropic({ ...counts, cache_creation: {} })).toMatchObject({ cacheWrite: 0 });
  });

  it('tells thoughts from the answer where the provider does, and never more than all there was', () => {
    const counts = { input_tokens: 1, output_tokens: 50 };
    const thought = (thinking_tokens: unknown): object => ({ ...counts, output_tokens_details: { thinking_tokens } });
    expect(usageFromAnthropic(thought(30))).toMatchObject({ output: 20, reasoning: 30 });
    expect(usageFromAnthropic(thought(70))).toMatchObject({ output: 0, reasoning: 50 });
    expect(usageFromAnthropic(thought('30'))).toMatchObject({ output: 50, reasoning: 0 });
    expect(usageFromAnthropic({ ...counts, output_tokens_details: null })).toMatchObject({ output: 50, reasoning: 0 });
    const before = { ...NO_TOKENS, inputUncached: 1, output: 20, reasoning: 30 };
    expect(usageFromAnthropic({ output_tokens: 60 }, before)).toMatchObject({ output: 30, reasoning: 30 });
    expect(usageFromAnthropic({ input_tokens: 2 }, before)).toMatchObject({
      inputUncached: 2,
      output: 20,
      reasoning: 30,
    });
  });

  it('adds what it took to shorten the conversation, which the totals leave out, and no turn twice', () => {
    const turn = { type: 'message', input_tokens: 100, cache_read_input_tokens: 20, output_tokens: 50 };
    const shortened = {
      ...{ type: 'compaction', input_tokens: 160_000, output_tokens: 3_000 },
      ...{ cache_read_input_tokens: 7, cache_creation_input_tokens: 5 },
    };
    const totals = { input_tokens: 100, cache_read_input_tokens: 20, output_tokens: 50 };
    const iterations = [shortened, turn, { type: 'compaction', input_tokens: 1, output_tokens: 'many' }, null];
    const all = { ...NO_TOKENS, inputUncached: 160_101, inputCached: 27, cacheWrite: 5, output: 3_050 };
    expect(usageFromAnthropic({ ...totals, iterations })).toEqual(all);
    const before = { ...NO_TOKENS, inputUncached: 100, inputCached: 20, output: 1 };
    expect(usageFromAnthropic({ ...totals, cache_creation_input_tokens: 0, iterations }, before)).toEqual(all);
    expect(usageFromAnthropic({ output_tokens: 60 }, all)).toEqual({ ...all, output: 60 });
    expect(usageFromAnthropic({ ...totals, iterations: [turn] })).toMatchObject({ inputUncached: 100, output: 50 });
    expect(usageFromAnthropic({ ...totals, iterations: 'none' })).toMatchObject({ inputUncached: 100, output: 50 });
  });

  it('takes an explicit zero as a count', () => {
    expect(usageFromAnthropic({ input_tokens: 0, output_tokens: 0 })).toEqual(NO_TOKENS);
  });

  it('keeps what was told before and is not told again, and takes what is', () => {
    const before = { ...NO_TOKENS, inputUncached: 12, inputCached: 7, cacheWrite: 3, output: 1 };
    expect(usageFromAnthropic({ output_tokens: 30 }, before)).toEqual({ ...before, output: 30 });
    expect(usageFromAnthropic({ input_tokens: null, output_tokens: 30 }, before)).toEqual({ ...before, output: 30 });
    const told = {
      input_tokens: 15_665,
      cache_read_input_tokens: 0,
      cache_creation_input_tokens: 0,
      output_tokens: 795,
    };
    expect(usageFromAnthropic(told, before)).toEqual({ ...NO_TOKENS, inputUncached: 15_665, output: 795 });
  });

  it.each([
    ['undefined', undefined],
    ['null', null],
    ['an empty object', {}],
    ['no output', { input_tokens: 5 }],
    ['a negative', { input_tokens: -5, output_tokens: 6 }],
    ['a fraction', { input_tokens: 5, output_tokens: 6.5 }],
    ['text', { input_tokens: '5', output_tokens: 6 }],
    ['beyond belief', { input_tokens: 5, output_tokens: 1e15 }],
  ])('takes %s as missing, and keeps the count that was told before', (_, usage) => {
    expect(usageFromAnthropic(usage)).toBeUndefined();
    const before = { ...NO_TOKENS, inputUncached: 5, output: 4 };
    expect(usageFromAnthropic(usage, before)).toMatchObject({ inputUncached: 5 });
  });
});
