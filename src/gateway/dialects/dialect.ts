import type { TokenCounts } from '../../catalogue/price';
import type { Refusal } from '../../kernel/errors';
import type { JsonObject } from '../../kernel/json-object';
import type { ApiDialect } from '../../upstreams/upstream.port';
import type { InferenceRequest } from './inference-request';
import type { NeutralEvent } from './neutral/neutral-event';
import type { NeutralRequest } from './neutral/neutral-request';
import type { PromptText } from './prompt-text';
import type { StreamReading } from './stream-reading';
import type { WholeAnswer } from './whole-answer';

/** What a translated request is rendered for. */
export interface RenderTarget {
  /** The provider's own name of the model. */
  readonly upstreamModel: string;
  /** What was reserved for one answer: for dialects that must name a maximum where the client named none. */
  readonly maxOutputTokens: number;
}

/** How an answer in the client's dialect is to look. */
export interface AnswerLook {
  /** The client's name of the model. */
  readonly model: string;
  readonly showUsage: boolean;
  /** For dialects whose answers repeat parts of the request. */
  readonly request: InferenceRequest;
  /** Unique, without prefix: for dialects whose answers need ids that the provider did not give. */
  readonly answerId: string;
  readonly nowMs: number;
}

/** Turns the frames of one provider stream into events. Knows nothing of bytes; fed the JSON of each frame, in order. */
export interface EventParser {
  /** Frames that say nothing give no events. */
  parse(frame: JsonObject): readonly NeutralEvent[];
  /** What is left to say when the stream is over and whole: blocks and the answer are ended. */
  end(): readonly NeutralEvent[];
}

/** Turns events into the frames of one client stream: the bytes of whole SSE frames, or none. */
export interface EventRenderer {
  render(event: NeutralEvent): string;
  /**
   * What a provider would have sent if the answer had reached its maximum here: open blocks are ended, the reason is
   * length, the usage is what was billed. Without the terminal frame.
   */
  cut(billed: TokenCounts | undefined): string;
  /** The terminal frame, which is held back until the call is settled. */
  terminal(): string;
}

/** One API dialect, on the client's side of the gateway and on the provider's. Pure: no I/O, no clock. */
export interface Dialect {
  readonly name: ApiDialect;
  /** Never throws: a body that cannot be used is a refusal that names the field. */
  readonly parseRequest: (raw: Buffer) => InferenceRequest | Refusal;
  /** What a provider of the same dialect is sent: the client's bytes but for what must change. */
  readonly passOn: (request: InferenceRequest, upstreamModel: string) => Buffer;
  /** What it says for the tokenizer, where a provider reports no usage. */
  readonly promptText: (body: JsonObject) => PromptText;
  /** A whole answer as far as money is concerned; undefined where the body is none. */
  readonly readAnswer: (body: Buffer) => WholeAnswer | undefined;
  /** A `usage` object as buckets; undefined where it is not credible. */
  readonly usageFrom: (usage: unknown) => TokenCounts | undefined;
  /** A stream as far as money is concerned. */
  readonly streamReading: (request: InferenceRequest) => StreamReading;
  /** Absent where the dialect has no conversation to translate (embeddings). */
  readonly translation?: Translation;
}

/** Between a dialect and what no dialect says. */
export interface Translation {
  toNeutral(request: InferenceRequest): NeutralRequest | Refusal;
  /** JSON text of the request as this dialect says it; a refusal names the client's field that it cannot say. */
  renderRequest(request: NeutralRequest, target: RenderTarget): Buffer | Refusal;
  eventParser(): EventParser;
  /** The events of a whole answer, as if it had been streamed. */
  parseAnswer(body: JsonObject): readonly NeutralEvent[];
  eventRenderer(look: AnswerLook): EventRenderer;
  renderAnswer(events: readonly NeutralEvent[], look: AnswerLook): JsonObject;
}
