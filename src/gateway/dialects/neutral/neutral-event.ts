import type { TokenCounts } from '../../../catalogue/price';

/**
 * What a provider's answer says, in no dialect and in order. A parser makes these of its dialect's frames (and of a whole
 * body, as if it had been streamed); a renderer turns them into its dialect's frames, or collects them into a whole body.
 *
 *   start · (block_start · delta* · block_end)* · finish · usage? · end
 *
 * Blocks are numbered from 0 in the order they begin. Chat providers may write several tool calls by turns: then more than
 * one block is open, and a renderer that knows only one at a time keeps the later ones back. Usage may come more than once,
 * also early (what the answer began with): the last one counts. Errors are no events: the pump ends the stream.
 */
export type NeutralEvent =
  | { readonly type: 'start'; readonly id: string; readonly model: string; readonly createdSeconds?: number }
  | { readonly type: 'block_start'; readonly block: number; readonly content: NeutralBlock }
  /** Of text, refusal and reasoning blocks: more of their text; of tool calls: more of their arguments or input. */
  | { readonly type: 'delta'; readonly block: number; readonly text: string }
  /** Of a reasoning block: what proves it to its provider; whole, it may come once and last. */
  | { readonly type: 'signature'; readonly block: number; readonly signature: string }
  /** Of a text block: where a part of it comes from. */
  | { readonly type: 'citation'; readonly block: number; readonly citation: NeutralCitation }
  | { readonly type: 'block_end'; readonly block: number }
  | { readonly type: 'finish'; readonly reason: NeutralFinishReason; readonly stopSequence?: string }
  | { readonly type: 'usage'; readonly tokens: TokenCounts }
  | { readonly type: 'end' };

export type NeutralBlock =
  | { readonly kind: 'text' }
  | { readonly kind: 'refusal' }
  /** `isSummary`: not the thoughts themselves but what they come to. */
  | { readonly kind: 'reasoning'; readonly isSummary: boolean; readonly id?: string }
  /** A thought that only its provider can read; `data` is the signature. */
  | { readonly kind: 'redacted_reasoning'; readonly data: string; readonly id?: string }
  | { readonly kind: 'tool_call'; readonly tool: 'function' | 'custom'; readonly callId: string; readonly name: string }
  /**
   * A tool that the provider runs itself (web search, code, MCP), or what it came to. Its client has nothing to do and
   * other dialects have no words for it: renderers of other dialects leave it out. No deltas.
   */
  | { readonly kind: 'provider_tool'; readonly name: string };

export interface NeutralCitation {
  readonly url: string;
  readonly title?: string;
  readonly citedText?: string;
}

export type NeutralFinishReason =
  /** It came to its end, or to one of the stop sequences. */
  | 'stop'
  | 'length'
  | 'tool_calls'
  /** A filter of the provider ended it. */
  | 'content_filter'
  /** The model would not answer. */
  | 'refusal'
  /** The provider paused a long turn: the client may send it again to go on. */
  | 'pause';
