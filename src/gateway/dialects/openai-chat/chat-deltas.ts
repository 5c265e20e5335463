import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { InferenceRequest } from '../inference-request';
import { isArray } from '../json-value';
import { inputOfArguments } from '../neutral/custom-tool';
import type { NeutralBlock, NeutralCitation, NeutralEvent } from '../neutral/neutral-event';

/** What one event adds to the assistant's message, as chat says it. */
export interface ChatDelta {
  readonly content?: string;
  readonly refusal?: string;
  readonly reasoning_content?: string;
  readonly reasoning_details?: readonly JsonObject[];
  readonly annotations?: readonly JsonObject[];
  readonly tool_calls?: readonly ChatCallDelta[];
}

export interface ChatCallDelta {
  readonly index: number;
  /** With the first delta of a call. */
  readonly id?: string;
  readonly type?: 'function' | 'custom';
  readonly function?: { readonly name?: string; readonly arguments: string };
  readonly custom?: { readonly name?: string; readonly input: string };
}

type ToolCallBlock = Extract<NeutralBlock, { kind: 'tool_call' }>;
type ReasoningBlock = Extract<NeutralBlock, { kind: 'reasoning' }>;

/** A block that has begun and not ended. */
type OpenBlock =
  | { readonly kind: 'text'; readonly from: number; readonly citations: NeutralCitation[] }
  | { readonly kind: 'refusal' }
  | { readonly kind: 'reasoning'; readonly content: ReasoningBlock; text: string; signature: string | undefined }
  | { readonly kind: 'call'; readonly content: ToolCallBlock; readonly index: number; text: string };

/**
 * Turns events into deltas of one assistant message. A thought with a signature is said twice: as it comes, in
 * `reasoning_content`, and as a whole with its signature, in `reasoning_details`, for clients that send it back.
 */
export class ChatDeltas {
  private readonly open = new Map<number, OpenBlock>();
  private readonly customTools: ReadonlySet<string>;
  private calls = 0;
  private details = 0;
  private contentLength = 0;
  hasRefusal = false;

  constructor(request: InferenceRequest) {
    this.customTools = customToolsOf(request.body);
  }

  /** Undefined for an event that adds nothing. */
  of(event: NeutralEvent): ChatDelta | undefined {
    switch (event.type) {
      case 'block_start':
        return this.begin(event.block, event.content);
      case 'delta':
        return this.add(event.block, event.text);
      case 'signature': {
        const block = this.open.get(event.block);
        if (block?.kind === 'reasoning') block.signature = event.signature;
        return undefined;
      }
      case 'citation': {
        const block = this.open.get(event.block);
        if (block?.kind === 'text') block.citations.push(event.citation);
        return undefined;
      }
      case 'block_end':
        return this.end(event.block, true);
      case 'start':
      case 'finish':
      case 'usage':
      case 'end':
        return undefined;
    }
  }

  /** What is left to say of blocks that are cut where they stand. */
  cut(): readonly ChatDelta[] {
    return [...this.open.keys()].flatMap((block) => this.end(block, false) ?? []);
  }

  private begin(block: number, content: NeutralBlock): ChatDelta | undefined {
    switch (content.kind) {
      case 'text':
        this.open.set(block, { kind: 'text', from: this.contentLength, citations: [] });
        return undefined;
      case 'refusal':
        this.hasRefusal = true;
        this.open.set(block, { kind: 'refusal' });
        return undefined;
      case 'reasoning':
        this.open.set(block, { kind: 'reasoning', content, text: '', signature: undefined });
        return undefined;
      case 'redacted_reasoning':
        return this.detail({ type: 'reasoning.encrypted', data: content.data }, content.id);
      case 'tool_call': {
        const index = this.calls++;
        this.open.set(block, { kind: 'call', content, index, text: '' });
        return this.beginCall(content, index);
      }
      case 'provider_tool':
        return undefined;
    }
  }

  private beginCall(call: ToolCallBlock, index: number): ChatDelta {
    const { callId: id, name } = call;
    const first = this.isCustom(call)
      ? { index, id, type: 'custom' as const, custom: { name, input: '' } }
      : { index, id, type: 'function' as const, function: { name, arguments: '' } };
    return { tool_calls: [first] };
  }

  private add(number: number, text: string): ChatDelta | undefined {
    const block = this.open.get(number);
    switch (block?.kind) {
      case 'text':
        this.contentLength += text.length;
        return { content: text };
      case 'refusal':
        return { refusal: text };
      case 'reasoning':
        block.text += text;
        return { reasoning_content: text };
      case 'call':
        block.text += text;
        if (this.isFunctionForCustom(block.content)) return undefined;
        return this.moreOfCall(block.content, block.index, text);
      case undefined:
        return undefined;
    }
  }

  private end(number: number, isWhole: boolean): ChatDelta | undefined {
    const block = this.open.get(number);
    this.open.delete(number);
    switch (block?.kind) {
      case 'text':
        return block.citations.length === 0
          ? undefined
          : { annotations: this.annotations(block.from, block.citations) };
      case 'reasoning': {
        const { content, text, signature } = block;
        if (signature === undefined) return undefined;
        const said = content.isSummary
          ? { type: 'reasoning.summary', summary: text }
          : { type: 'reasoning.text', text };
        return this.detail({ ...said, signature }, content.id);
      }
      case 'call':
        return this.endCall(block.content, block.index, block.text, isWhole);
      case 'refusal':
      case undefined:
        return undefined;
    }
  }

  private endCall(call: ToolCallBlock, index: number, text: string, isWhole: boolean): ChatDelta | undefined {
    if (this.isFunctionForCustom(call)) return this.moreOfCall(call, index, inputOfArguments(text));
    // Clients parse the arguments of every call.
    return isWhole && text === '' && call.tool === 'function' ? this.moreOfCall(call, index, '{}') : undefined;
  }

  private moreOfCall(call: ToolCallBlock, index: number, text: string): ChatDelta {
    const more = this.isCustom(call) ? { custom: { input: text } } : { function: { arguments: text } };
    return { tool_calls: [{ index, ...more }] };
  }

  private detail(said: JsonObject, id: string | undefined): ChatDelta {
    return { reasoning_details: [{ ...said, ...(id === undefined ? {} : { id }), index: this.details++ }] };
  }

  private annotations(from: number, citations: readonly NeutralCitation[]): readonly JsonObject[] {
    return citations.map(({ url, title, citedText }) => ({
      type: 'url_citation',
      url_citation: {
        url,
        title: title ?? url,
        start_index: from,
        end_index: this.contentLength,
        ...(citedText === undefined ? {} : { content: citedText }),
      },
    }));
  }

  private isCustom(call: ToolCallBlock): boolean {
    return call.tool === 'custom' || this.customTools.has(call.name);
  }

  /** The provider knows only functions; the client asked for a tool that takes text. */
  private isFunctionForCustom(call: ToolCallBlock): boolean {
    return call.tool === 'function' && this.customTools.has(call.name);
  }
}

function customToolsOf({ tools }: JsonObject): ReadonlySet<string> {
  const names = (isArray(tools) ? tools : []).flatMap((tool) =>
    isObject(tool) && isObject(tool.custom) && typeof tool.custom.name === 'string' ? [tool.custom.name] : [],
  );
  return new Set(names);
}
