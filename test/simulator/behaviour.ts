/**
 * What the simulator does with one call. Every field is optional; nothing given is a correct provider. The same names
 * are used in process (`script`), in `POST /__script` and in the request field `x_simulate`, whatever dialect the call is in.
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
  /** The answer as JSON text; where the request forces one tool (not in chat), that tool's arguments. */
  readonly json?: string;
  /** What is thought before the answer: Anthropic's thinking, a summary in responses, `reasoning_content` in chat. */
  readonly reasoning?: string;
  /** In responses: the thoughts themselves (`reasoning_text`), not a summary of them. */
  readonly isReasoningRaw?: boolean;
  /** Proves the thoughts: Anthropic's signature, `encrypted_content` in responses, `reasoning_details` in chat. */
  readonly signature?: string;
  /** A thought that cannot be read, before the others (not in chat, where it is in `reasoning_details`). */
  readonly redactedReasoning?: string;
  /** The model would not answer: this instead of a text. */
  readonly refusal?: string;
  /** Of the whole text. */
  readonly citations?: readonly Citation[];
  /** The text ends with a list of the images that came. */
  readonly echoesImages?: boolean;
  /** As chat says it (`stop`, `length`, `tool_calls`, `content_filter`), or as the call's dialect does. */
  readonly finishReason?: string;
  /** Writes on past the request's maximum. */
  readonly ignoresMaxTokens?: boolean;

  // Usage
  /** Other dialects than chat know `on`, `omitted`, `null` and `zero`. */
  readonly usage?: UsageStyle;
  /** All of them, cached and cache-written ones included. */
  readonly promptTokens?: number;
  /** As reported, whatever the text is. */
  readonly completionTokens?: number;
  /** Part of promptTokens. */
  readonly cachedTokens?: number;
  /** Part of promptTokens. */
  readonly cacheWriteTokens?: number;
  readonly reasoningTokens?: number;
  /** true (xAI, chat only): total = prompt + completion + reasoning. false (OpenAI): completion_tokens includes reasoning. */
  readonly isReasoningAdditive?: boolean;

  // Pace
  readonly headersDelayMs?: number;
  readonly paceMs?: number;

  // Failure. `'headers'` is before the response's headers; a number is after so many content chunks.
  readonly fail?: HttpFailure;
  readonly hangAt?: FailurePoint;
  readonly resetAt?: FailurePoint;
  /** Ends the body properly, but without finish chunk, usage and terminal frame. */
  readonly endAt?: number;
  /** An error event inside the 200, after so many content chunks; the body then ends without terminal frame. */
  readonly errorEventAt?: number;
  readonly errorEventMessage?: string;
  /** Type of the error, or code in responses; there `response.failed` is that event in place of `error`. */
  readonly errorEventType?: string;
  /** A data line that is not JSON, after so many content chunks; the stream goes on. */
  readonly garbageAt?: number;

  // The wire
  /** false: the stream ends without its terminal frame. */
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
  /** Replay: the data lines of a recorded stream, in order; in chat `[DONE]` follows unless `done` is false. */
  readonly frames?: readonly string[];
  /** The whole body as it is, for a stream or not. */
  readonly body?: string;
  readonly contentType?: string;
}

export interface ToolCall {
  readonly name: string;
  /** JSON text (of a custom tool any text); streamed in pieces of a few characters. */
  readonly arguments: string;
  readonly id?: string;
}

export interface Citation {
  readonly url: string;
  readonly title: string;
}

/**
 * on: as the dialect has it (chat: own frame after the finish chunk, if asked; `usage: null` before). omitted: never. null:
 * only nulls. zero: explicit zeros. Chat only: on_finish: on the finish chunk, asked or not (DeepSeek, Mistral). repeated:
 * growing, on every content chunk, and at the end. twice: at the end a wrong one (1 / 1), then the right one.
 */
export type UsageStyle = (typeof USAGE_STYLES)[number];
export const USAGE_STYLES = ['on', 'omitted', 'null', 'zero', 'on_finish', 'repeated', 'twice'] as const;

export type FailurePoint = 'headers' | number;

export interface HttpFailure {
  readonly status: number;
  /** Sent as it is: seconds or an HTTP date. */
  readonly retryAfter?: string;
  readonly message?: string;
  /** Default: what the dialect says for the status. */
  readonly type?: string;
  readonly code?: string;
  /** Instead of the dialect's error object. */
  readonly body?: string;
  /** Only the first calls of a model fail so (counted since the last reset, per model and `stormKey`). */
  readonly firstCalls?: number;
  readonly stormKey?: string;
}

export class BehaviourError extends Error {
  override readonly name = 'BehaviourError';
}
