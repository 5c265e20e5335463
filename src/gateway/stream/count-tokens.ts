import { Injectable, type OnModuleDestroy } from '@nestjs/common';

import { NO_TOKENS, TEXT_BYTES_PER_TOKEN, type TokenCounts } from '../../catalogue/price';
import { DIALECTS } from '../dialects/dialects';
import { type InferenceRequest } from '../dialects/inference-request';
import { type CollectedText } from '../dialects/collected-text';
import { TokenAccuracy } from './token-accuracy';
import { TokenizerPool } from './tokenizer-pool';

/** How tokens came to be known (`billing_transaction.counting_method`). */
export type CountingMethod = 'usage' | 'tokenizer' | 'estimated';

export interface CountedTokens {
  readonly tokens: TokenCounts;
  readonly method: CountingMethod;
}

/** An answer as far as it is to be billed; a ChatCompletion is one, and so is the `answer` of a stream's ending. */
export interface CountableAnswer {
  readonly usage?: TokenCounts | undefined;
  /** False where usage was reported on the way only, and the answer may have gone on after it. */
  readonly isUsageFinal: boolean;
  readonly isStreamed?: boolean;
  /** Undefined when there was too much of it to keep. */
  text(): CollectedText | undefined;
  readonly chunks: number;
  /** Of a stream: its output as it was counted on the way, without parsing. */
  readonly writtenTokens?: number;
  /** The guard let so much pass by that count: it is what is estimated. */
  readonly isGuarded?: boolean;
}

export type CountablePrompt = Pick<InferenceRequest, 'dialect' | 'body' | 'promptTextBytes' | 'maxOutputTokens'>;

/** As at admission (money.md, Estimate), like the bytes of a token. */
const ESTIMATED_TOKENS_PER_CHUNK = 3;

/**
 * Tokens of an answer by precedence (money.md): what the provider reported; else the tokenizer on the texts; else, where
 * the text was dropped or the tokenizer fails, chunks × 3, at least 1 unless the answer can have no text. What the guard
 * cut is estimated by the guard's own count: three times that would be more than was held.
 */
@Injectable()
export class TokenCounter implements OnModuleDestroy {
  constructor(
    private readonly tokenizer: TokenizerPool,
    private readonly accuracy: TokenAccuracy,
  ) {}

  /**
   * At once where the provider's report settles it.
   * @param imageTokens of the prompt's images by the model's constant; used when the provider reports nothing
   */
  count(answer: CountableAnswer, prompt: CountablePrompt, imageTokens: number): CountedTokens | Promise<CountedTokens> {
    const { usage, isUsageFinal } = answer;
    if (!usage || !isUsageFinal) return this.tokenize(answer, prompt, imageTokens);
    this.accuracy.sample(answer, usage);
    return { tokens: usage, method: 'usage' };
  }

  private async tokenize(
    answer: CountableAnswer,
    prompt: CountablePrompt,
    imageTokens: number,
  ): Promise<CountedTokens> {
    const { usage } = answer;
    const text = answer.text();
    const { texts, frameTokens } = DIALECTS[prompt.dialect].promptText(prompt.body);
    const counts = text && (await this.tokenizer.count([text.output, text.reasoning, usage ? [] : texts]));
    if (!text || !counts) return usage ? atLeastWritten(usage, answer) : estimate(answer, prompt, imageTokens);
    const [output = 0, reasoning = 0, input = 0] = counts;
    if (!usage) {
      const inputUncached = input + frameTokens;
      return { tokens: { ...NO_TOKENS, inputUncached, output, reasoning, image: imageTokens }, method: 'tokenizer' };
    }
    return usage.output + usage.reasoning >= output + reasoning
      ? { tokens: usage, method: 'usage' }
      : { tokens: { ...usage, output, reasoning }, method: 'tokenizer' };
  }

  async onModuleDestroy(): Promise<void> {
    await this.tokenizer.close();
  }
}

/** What was reported on the way may be provisional: output = max(reported, counted). */
function atLeastWritten(usage: TokenCounts, { writtenTokens = 0 }: CountableAnswer): CountedTokens {
  const missing = writtenTokens - usage.output - usage.reasoning;
  if (missing <= 0) return { tokens: usage, method: 'usage' };
  return { tokens: { ...usage, output: usage.output + missing }, method: 'estimated' };
}

function estimate(answer: CountableAnswer, prompt: CountablePrompt, imageTokens: number): CountedTokens {
  return {
    tokens: {
      ...NO_TOKENS,
      inputUncached: Math.ceil(prompt.promptTextBytes / TEXT_BYTES_PER_TOKEN),
      output: prompt.maxOutputTokens === 0 ? 0 : Math.max(1, estimatedOutput(answer)),
      image: imageTokens,
    },
    method: 'estimated',
  };
}

function estimatedOutput({ chunks, writtenTokens, isGuarded }: CountableAnswer): number {
  return isGuarded && writtenTokens !== undefined ? writtenTokens : chunks * ESTIMATED_TOKENS_PER_CHUNK;
}
