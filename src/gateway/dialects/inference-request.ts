import type { JsonObject } from '../../kernel/json-object';
import type { ApiDialect } from '../../upstreams/upstream.port';
import type { TopLevel } from './top-level-scan';

/** A request that was understood, of any dialect: what the workflow needs to know of it. Its bytes are what is priced. */
export interface InferenceRequest {
  readonly dialect: ApiDialect;
  /** The client's bytes, unless they had duplicate keys or were of another shape: then what they mean. */
  readonly raw: Buffer;
  /** Where the members of `raw` lie. */
  readonly layout: TopLevel;
  /** `raw` parsed. */
  readonly body: JsonObject;
  readonly model: string;
  readonly stream: boolean;
  /** Whether the client's stream shows usage; of dialects that always show it: true. */
  readonly includeUsage: boolean;
  /** The most that one answer may write, where the request says so; 0 where an answer is no text (embeddings). */
  readonly maxOutputTokens?: number;
  /** How many answers were asked for. */
  readonly choices: number;
  /** Bytes of all that is sent except data of images, documents and audio: an upper bound of the text, for the estimate. */
  readonly promptTextBytes: number;
  /** Text that nobody sent and that is read all the same (files at a URL, pages that a provider's tool finds): only held for. */
  readonly unseenTextBytes?: number;
  readonly images: number;
  readonly audioParts: number;
  /** Of audio that is sent along, as base64. */
  readonly audioDataBytes: number;
  /** What the answer may consist of beside text: each has a price of its own. */
  readonly asksForAudio: boolean;
  readonly asksForImages: boolean;
  /** Names the conversation, where the body does (each dialect's own way): for affinity. */
  readonly sessionId?: string;
}
