import type { JsonObject } from '../../../kernel/json-object';

/**
 * What a conversation request says, in no dialect: what one dialect's parser makes and another's renderer takes where
 * client and provider do not speak the same. A parser puts in whatever has a place here and refuses, naming the field,
 * what has none; a renderer refuses what its dialect cannot say. Nothing is dropped silently; hints that change no answer
 * (cache control, where the provider caches by itself) are the exception, listed by each renderer.
 */
export interface NeutralRequest {
  /** The client's name of the model. */
  readonly model: string;
  readonly stream: boolean;
  /** System and developer text that comes before the conversation, in order. */
  readonly instructions: readonly NeutralText[];
  readonly messages: readonly NeutralMessage[];
  readonly tools: readonly NeutralTool[];
  readonly toolChoice?: NeutralToolChoice;
  /** False: at most one tool call an answer. */
  readonly parallelToolCalls?: boolean;
  readonly maxOutputTokens?: number;
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly stopSequences: readonly string[];
  readonly reasoning?: NeutralReasoning;
  readonly outputFormat?: NeutralOutputFormat;
  /** How much is said: `low`, `medium`, `high`. */
  readonly verbosity?: string;
  /** The client's own user, as it names them. */
  readonly endUser?: string;
  /** `auto`, `default`, `flex`, `priority`, …: as OpenAI names them. */
  readonly serviceTier?: string;
  /** Fields that only OpenAI's APIs share and that mean the same in each (`seed`, `metadata`, `store`, `top_logprobs`, …), by the client's name. */
  readonly openAiOptions: JsonObject;
  /** How the client spells a field of this request (`stopSequences`: `stop`), for refusals that name it; see fieldOf. */
  readonly names: Readonly<Partial<Record<NeutralField, string>>>;
}

/** The fields that a renderer may have to refuse. */
export type NeutralField =
  | 'instructions'
  | 'tools'
  | 'toolChoice'
  | 'parallelToolCalls'
  | 'maxOutputTokens'
  | 'temperature'
  | 'topP'
  | 'topK'
  | 'stopSequences'
  | 'reasoning'
  | 'outputFormat'
  | 'verbosity'
  | 'endUser'
  | 'serviceTier';

/** What the client calls the field. */
export function fieldOf({ names }: NeutralRequest, field: NeutralField): string {
  return names[field] ?? field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Where a part stands in the client's body (`messages[2].content[0]`), for refusals that name it. */
export interface Placed {
  readonly path: string;
}

/** `effort` as OpenAI names it, `budgetTokens` as Anthropic does; either may be there. */
export interface NeutralReasoning {
  /** `none`: it must not think. */
  readonly effort?: string;
  /** At most so many tokens of thought. */
  readonly budgetTokens?: number;
  /** Thinks as much as it wants to (Anthropic's `adaptive`). */
  readonly isAdaptive?: boolean;
  /** The client wants to read a summary: `auto`, `concise`, `detailed`. */
  readonly summary?: string;
  /** Undefined where thinking was not asked for in so many words. */
  readonly isEnabled?: boolean;
}

export type NeutralOutputFormat =
  | { readonly type: 'json_object' }
  | {
      readonly type: 'json_schema';
      readonly name?: string;
      readonly description?: string;
      readonly schema: JsonObject;
      readonly strict?: boolean;
    };

export interface NeutralTool extends Placed {
  /** `custom`: its input is text, not JSON by a schema. */
  readonly type: 'function' | 'custom';
  readonly name: string;
  readonly description?: string;
  /** JSON schema of the arguments; none for a custom tool, or where the client gave none. */
  readonly parameters?: JsonObject;
  readonly strict?: boolean;
  /** Of a custom tool, as OpenAI's Responses API has it. */
  readonly format?: JsonObject;
  readonly cacheControl?: JsonObject;
}

export type NeutralToolChoice =
  | { readonly type: 'auto' }
  | { readonly type: 'none' }
  /** Some tool, whichever. */
  | { readonly type: 'required' }
  | { readonly type: 'tool'; readonly name: string };

export type NeutralMessage =
  /** In the middle of a conversation; before it they are `instructions`. */
  | ({ readonly role: 'system'; readonly content: readonly NeutralText[] } & Placed)
  | { readonly role: 'user'; readonly content: readonly NeutralUserPart[]; readonly name?: string }
  | { readonly role: 'assistant'; readonly content: readonly NeutralAssistantPart[] };

export interface NeutralText {
  readonly type: 'text';
  readonly text: string;
  /** Anthropic's `cache_control` as it came. */
  readonly cacheControl?: JsonObject;
}

export type NeutralUserPart = NeutralText | NeutralImage | NeutralDocument | NeutralAudio | NeutralToolResult;

export interface NeutralImage extends Placed {
  readonly type: 'image';
  readonly source: NeutralSource;
  /** OpenAI's: `auto`, `low`, `high`. */
  readonly detail?: string;
  readonly cacheControl?: JsonObject;
}

/** A PDF or text file. */
export interface NeutralDocument extends Placed {
  readonly type: 'document';
  readonly source: NeutralSource | { readonly type: 'text'; readonly text: string };
  readonly filename?: string;
  readonly cacheControl?: JsonObject;
}

export interface NeutralAudio extends Placed {
  readonly type: 'audio';
  /** Base64. */
  readonly data: string;
  /** `wav`, `mp3`. */
  readonly format: string;
}

export type NeutralSource =
  | { readonly type: 'url'; readonly url: string }
  | { readonly type: 'base64'; readonly mediaType: string; readonly data: string }
  /** A file that the provider keeps. */
  | { readonly type: 'file'; readonly fileId: string };

/** What a tool that the client runs came to; it stands in the user's message that follows the call. */
export interface NeutralToolResult extends Placed {
  readonly type: 'tool_result';
  readonly callId: string;
  readonly content: readonly (NeutralText | NeutralImage | NeutralDocument)[];
  readonly isError?: boolean;
  readonly cacheControl?: JsonObject;
}

export type NeutralAssistantPart =
  NeutralText | { readonly type: 'refusal'; readonly text: string } | NeutralReasoningPart | NeutralToolCall;

/**
 * What the model thought in an earlier answer. `signature` is what proves it to its provider, as the provider gave it
 * (Anthropic's signature, OpenAI's encrypted content): passed on, never read. Redacted: the signature is all there is.
 */
export interface NeutralReasoningPart extends Placed {
  readonly type: 'reasoning';
  readonly text: string;
  readonly signature?: string;
  readonly isRedacted?: boolean;
  /** The item's id, of OpenAI's Responses API. */
  readonly id?: string;
}

export interface NeutralToolCall extends Placed {
  readonly type: 'tool_call';
  readonly kind: 'function' | 'custom';
  readonly callId: string;
  readonly name: string;
  /** JSON text of a function's arguments as the model wrote it (`{}` for none), or the text of a custom tool's input. */
  readonly arguments: string;
  readonly cacheControl?: JsonObject;
}
