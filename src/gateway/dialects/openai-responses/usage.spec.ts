import { NO_TOKENS } from '../../../catalogue/price';
import { usageFromEmbeddings } from '../openai-embeddings/usage';
import { usageFromResponses } from './usage';

describe('usageFromResponses', () => {
  it('takes cached tokens out of the input and reasoning out of the output, which include them', () => {
    expect(
      usageFromResponses({
        input_tokens: 7_112,
        input_tokens_details: { cached_tokens: 3_072 },
        output_tokens: 463,
        output_tokens_details: { reasoning_tokens: 64 },
        total_tokens: 7_575,
      }),
    ).toEqual({ ...NO_TOKENS, inputUncached: 4_040, inputCached: 3_072, output: 399, reasoning: 64 });
  });

  it('adds reasoning where the total says that it comes on top', () => {
    const usage = { input_tokens: 12, output_tokens: 2, output_tokens_details: { reasoning_tokens: 340 } };
    expect(usageFromResponses({ ...usage, total_tokens: 354 })).toMatchObject({ output: 2, reasoning: 340 });
    expect(usageFromResponses({ ...usage, total_tokens: 14 })).toMatchObject({ output: 0, reasoning: 2 });
  });

  it.each([undefined, null, {}, { input_tokens: 5 }, { prompt_tokens: 5, completion_tokens: 6 }, 'usage'])(
    'takes %j as missing',
    (usage) => {
      expect(usageFromResponses(usage)).toBeUndefined();
    },
  );

  it('takes an explicit zero as a count', () => {
    expect(usageFromResponses({ input_tokens: 0, output_tokens: 0, total_tokens: 0 })).toEqual(NO_TOKENS);
  });
});

describe('usageFromEmbeddings', () => {
  it('is input alone; a zero is a count, what is not credible is missing', () => {
    expect(usageFromEmbeddings({ prompt_tokens: 12, total_tokens: 12 })).toEqual({ ...NO_TOKENS, inputUncached: 12 });
    expect(usageFromEmbeddings({ prompt_tokens: 0 })).toEqual(NO_TOKENS);
    for (const usage of [undefined, null, {}, { prompt_tokens: -1 }, { total_tokens: 5 }]) {
      expect(usageFromEmbeddings(usage)).toBeUndefined();
    }
  });
});
