/**
 * What the simulator does with one call. Every field is optional; nothing given is a correct provider. The same names
 * are used in process (`script`), in `POST /__script` and in the request field `x_simulate`.
 */
export interface Behaviour {
  /** Name under which the call appears in the log (`ServedRecord.tag`): how a test finds its own call. */
  readonly tag?: string;

  // The answer
  /** The exact text; default: made from the prompt. */
  readonly text?: string;
  /** Length of the made text in tokens. */
  readonly tokens?: number;
  /** Number of content chunks the text is streamed in; default: one a token. */
  readonly chunks?: number;
  readonly toolCalls?: readonly ToolCall[];
  readonly finishReason?: string;
  /** Writes on past the request's max_tokens / max_completion_tokens. */
  readonly ignoresMaxTokens?: boolean;

  // Usage
  readonly usage?: UsageStyle;
  readonly promptTokens?: number;
  /** As reported, whatever the text is. */
  readonly completionTokens?: number;
  /** Part of promptTokens. */
  readonly cachedTokens?: number;
  readonly reasoningTokens?: number;
  /** true (xAI): total = prompt + completion + reasoning. false (OpenAI): completion_tokens includes reasoning. */
  readonly isReasoningAdditive?: boolean;

  // Pace
  readonly headersDelayMs?: number;
  readonly paceMs?: number;

  // Failure. `'headers'` is before the response's headers; a number is after so many content chunks.
  readonly fail?: HttpFailure;
  readonly hangAt?: FailurePoint;
  readonly resetAt?: FailurePoint;
  /** Ends the body properly, but without finish chunk, usage and `[DONE]`. */
  readonly endAt?: number;
  /** An error event inside the 200, after so many content chunks; the body then ends without `[DONE]`. */
  readonly errorEventAt?: number;
  readonly errorEventMessage?: string;
  /** A data line that is not JSON, after so many content chunks; the stream goes on. */
  readonly garbageAt?: number;

  // The wire
  /** false: the stream ends without `[DONE]`. */
  readonly done?: boolean;
  /** Sizes of the writes the body is cut into, repeated; also inside a UTF-8 character. `[1]` is byte by byte. */
  readonly sliceBytes?: readonly number[];
  /** The body is cut into exactly two writes at this byte. */
  readonly splitAtByte?: number;
  readonly lineEnding?: '\n' | '\r\n' | '\r';
  /** A comment line and an empty event between the frames. */
  readonly comments?: boolean;
  /** A field of so many bytes is put into every content frame. */
  readonly padFrameBytes?: number;
  /** Replay: the data lines of a recorded stream, in order; `[DONE]` follows unless `done` is false. */
  readonly frames?: readonly string[];
  /** The whole body as it is, for a stream or not. */
  readonly body?: string;
  readonly contentType?: string;
}

export interface ToolCall {
  readonly name: string;
  /** JSON text; streamed in pieces of a few characters. */
  readonly arguments: string;
  readonly id?: string;
}

/**
 * on: as OpenAI (own frame after the finish chunk, if asked; `usage: null` before). omitted: never. null: only nulls.
 * zero: explicit zeros. on_finish: on the finish chunk, asked or not (DeepSeek, Mistral). repeated: growing, on every
 * content chunk, and at the end. twice: at the end a wrong one (1 / 1), then the right one.
 */
export type UsageStyle = (typeof USAGE_STYLES)[number];
const USAGE_STYLES = ['on', 'omitted', 'null', 'zero', 'on_finish', 'repeated', 'twice'] as const;

export type FailurePoint = 'headers' | number;

export interface HttpFailure {
  readonly status: number;
  /** Sent as it is: seconds or an HTTP date. */
  readonly retryAfter?: string;
  readonly message?: string;
  readonly type?: string;
  readonly code?: string;
  /** Instead of the OpenAI error object. */
  readonly body?: string;
  /** Only the first calls of a model fail so (counted since the last reset, per model and `stormKey`). */
  readonly firstCalls?: number;
  readonly stormKey?: string;
}

type Check = (value: unknown) => boolean;

const isCount: Check = (v) => typeof v === 'number' && Number.isSafeInteger(v) && v >= 0;
const isText: Check = (v) => typeof v === 'string';
const isFlag: Check = (v) => typeof v === 'boolean';
const isPoint: Check = (v) => v === 'headers' || isCount(v);
const isListOf =
  (check: Check): Check =>
  (v) =>
    Array.isArray(v) && v.every(check);
const isOneOf =
  (...allowed: readonly unknown[]): Check =>
  (v) =>
    allowed.includes(v);
const isPositive: Check = (v) => isCount(v) && v !== 0;

const FAILURE_CHECKS: Record<keyof HttpFailure, Check> = {
  status: (v) => isCount(v) && Number(v) >= 200 && Number(v) <= 599,
  retryAfter: isText,
  message: isText,
  type: isText,
  code: isText,
  body: isText,
  firstCalls: isCount,
  stormKey: isText,
};
const TOOL_CHECKS: Record<keyof ToolCall, Check> = { name: isText, arguments: isText, id: isText };

const CHECKS: Record<keyof Behaviour, Check> = {
  tag: isText,
  text: isText,
  tokens: isCount,
  chunks: isPositive,
  toolCalls: isListOf((v) => unfitField(v, TOOL_CHECKS, ['name', 'arguments']) === undefined),
  finishReason: isText,
  ignoresMaxTokens: isFlag,
  usage: isOneOf(...USAGE_STYLES),
  promptTokens: isCount,
  completionTokens: isCount,
  cachedTokens: isCount,
  reasoningTokens: isCount,
  isReasoningAdditive: isFlag,
  headersDelayMs: isCount,
  paceMs: isCount,
  fail: (v) => unfitField(v, FAILURE_CHECKS, ['status']) === undefined,
  hangAt: isPoint,
  resetAt: isPoint,
  endAt: isCount,
  errorEventAt: isCount,
  errorEventMessage: isText,
  garbageAt: isCount,
  done: isFlag,
  sliceBytes: (v) => isListOf(isPositive)(v) && (v as unknown[]).length > 0,
  splitAtByte: isCount,
  lineEnding: isOneOf('\n', '\r\n', '\r'),
  comments: isFlag,
  padFrameBytes: isCount,
  frames: isListOf(isText),
  body: isText,
  contentType: isText,
};

/** @throws BehaviourError naming the field: a misspelt directive must not look like a passing test. */
export function parseBehaviour(value: unknown): Behaviour {
  const unfit = unfitField(value, CHECKS, []);
  if (unfit !== undefined) throw new BehaviourError(`simulator: bad or unknown behaviour field "${unfit}"`);
  return value as Behaviour;
}

export class BehaviourError extends Error {
  override readonly name = 'BehaviourError';
}

function unfitField(value: unknown, checks: Readonly<Record<string, Check>>, required: string[]): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return '(not an object)';
  const missing = required.find((field) => !(field in value));
  if (missing !== undefined) return missing;
  for (const [field, fieldValue] of Object.entries(value)) {
    const check = Object.hasOwn(checks, field) ? checks[field] : undefined;
    if (check?.(fieldValue) !== true) return field;
  }
  return undefined;
}
