import { type TokenCounts } from '../../catalogue/price';
import { isObject, type JsonObject } from '../../kernel/json-object';
import { openAiUsageOf } from '../dialects/openai-chat/usage';
import { dataOf, renderFrame } from './sse-frame';

export interface CutEnd {
  /** Choices that have no reason to end yet. */
  readonly choices: readonly number[];
  /** Shown instead of the provider's name of the model, when set. */
  readonly model: string | undefined;
  /** What was billed, for a client that asked. */
  readonly usage: TokenCounts | undefined;
}

/** Members that all frames of one stream share. */
const SHARED = ['id', 'object', 'created', 'model', 'system_fingerprint', 'service_tier'];

/**
 * The frames that a provider sends when an answer reaches its maximum: `finish_reason: "length"` for each choice, then the
 * usage. @param sample any frame of the answer
 */
export function renderCutEnd(sample: Buffer | undefined, { choices, model, usage }: CutEnd): Buffer {
  const shared = {
    object: 'chat.completion.chunk',
    ...(sample ? sharedOf(sample) : {}),
    ...(model === undefined ? {} : { model }),
  };
  const ends = choices.map((index) => ({
    ...shared,
    choices: [{ index, delta: {}, logprobs: null, finish_reason: 'length' }],
    ...(usage ? { usage: null } : {}),
  }));
  const last = usage ? [{ ...shared, choices: [], usage: openAiUsageOf(usage) }] : [];
  return Buffer.concat([...ends, ...last].map((frame) => renderFrame(JSON.stringify(frame))));
}

function sharedOf(sample: Buffer): JsonObject {
  try {
    const frame: unknown = JSON.parse(dataOf(sample, 0, sample.length));
    if (!isObject(frame)) return {};
    return Object.fromEntries(SHARED.filter((name) => Object.hasOwn(frame, name)).map((name) => [name, frame[name]]));
  } catch {
    return {};
  }
}
