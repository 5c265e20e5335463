import { NO_TOKENS, TEXT_BYTES_PER_TOKEN, type TokenCounts } from '../../catalogue/price';
import { type CountablePrompt, type CountedTokens } from './count-tokens';

/** How far a stream has come. */
export interface StreamProgress {
  /** The last one that the provider reported. */
  readonly usage: TokenCounts | undefined;
  readonly isUsageFinal: boolean;
  /** Frames of the answer that count: those delivered, or read on behalf of a client that left. */
  readonly chunks: number;
}

/**
 * Tokens of an answer that is still on its way, without its text: undefined while there is none. A frame carries a token
 * or more, so frames are the least that was delivered: what is charged where the process dies must not be too much.
 */
export function tokensSoFar(
  { usage, isUsageFinal, chunks }: StreamProgress,
  prompt: Pick<CountablePrompt, 'promptTextBytes'>,
  imageTokens: number,
): CountedTokens | undefined {
  if (chunks === 0) return undefined;
  if (!usage) {
    const inputUncached = Math.ceil(prompt.promptTextBytes / TEXT_BYTES_PER_TOKEN);
    return { tokens: { ...NO_TOKENS, inputUncached, output: chunks, image: imageTokens }, method: 'estimated' };
  }
  const missing = chunks - usage.output - usage.reasoning;
  if (isUsageFinal || missing <= 0) return { tokens: usage, method: 'usage' };
  return { tokens: { ...usage, output: usage.output + missing }, method: 'estimated' };
}
