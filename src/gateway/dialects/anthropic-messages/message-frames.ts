import { NO_TOKENS, type TokenCounts } from '../../../catalogue/price';
import type { JsonObject } from '../../../kernel/json-object';
import type { AnswerLook } from '../dialect';
import type { NeutralBlock, NeutralCitation, NeutralEvent, NeutralFinishReason } from '../neutral/neutral-event';
import { stopReasonOf } from './stop-reason';
import { TEXT_INPUT_END, TEXT_INPUT_OPENING, textInputPiece } from './tool-input';
import { anthropicUsageOf } from './usage';

/** What a block is told by, between its start and its end. */
type BlockEvent = Extract<NeutralEvent, { readonly type: 'delta' | 'signature' | 'citation' | 'block_end' }>;

interface HeldBlock {
  readonly content: NeutralBlock;
  readonly events: BlockEvent[];
}

interface ShownBlock {
  readonly number: number;
  readonly content: NeutralBlock;
  /** Undefined until there is something to show: providers take no empty text back. */
  index: number | undefined;
}

/**
 * The frames of a message, without `message_stop`: those of a stream, from which a whole message is put together just as
 * well. One block is open at a time: those that begin beside it wait until it has ended.
 */
export class MessageFrames {
  private frames: JsonObject[] = [];
  private shown: ShownBlock | undefined;
  private readonly held = new Map<number, HeldBlock>();
  private nextIndex = 0;
  private hasStarted = false;
  private finish: { readonly reason: NeutralFinishReason; readonly stopSequence?: string } = { reason: 'stop' };
  private tokens: TokenCounts = NO_TOKENS;

  constructor(private readonly look: AnswerLook) {}

  of(event: NeutralEvent): readonly JsonObject[] {
    switch (event.type) {
      case 'start':
        this.start(event.id);
        break;
      case 'block_start':
        this.start('');
        if (this.shown) this.held.set(event.block, { content: event.content, events: [] });
        else this.show(event.block, event.content);
        break;
      case 'usage':
        this.tokens = event.tokens;
        break;
      case 'finish':
        this.finish = event;
        break;
      case 'end':
        this.endMessage(stopReasonOf(this.finish.reason, this.finish.stopSequence));
        break;
      case 'delta':
      case 'signature':
      case 'citation':
      case 'block_end':
        this.tellBlock(event);
        break;
    }
    return this.taken();
  }

  /** The end of an answer that reached its maximum here. */
  cut(billed: TokenCounts | undefined): readonly JsonObject[] {
    this.finish = { reason: 'length' };
    this.tokens = billed ?? this.tokens;
    this.endMessage('max_tokens');
    return this.taken();
  }

  private taken(): readonly JsonObject[] {
    const { frames } = this;
    this.frames = [];
    return frames;
  }

  private start(providerId: string): void {
    if (this.hasStarted) return;
    this.hasStarted = true;
    const message = {
      id: providerId.startsWith('msg_') ? providerId : `msg_${this.look.answerId}`,
      type: 'message',
      role: 'assistant',
      model: this.look.model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: anthropicUsageOf(this.tokens),
    };
    this.frames.push({ type: 'message_start', message });
  }

  private endMessage(stopReason: string): void {
    this.start('');
    while (this.shown) this.endShown();
    const stopSequence = stopReason === 'stop_sequence' ? this.finish.stopSequence : undefined;
    const details = { type: 'refusal', category: null, explanation: null };
    this.frames.push({
      type: 'message_delta',
      delta: {
        stop_reason: stopReason,
        stop_sequence: stopSequence ?? null,
        ...(stopReason === 'refusal' ? { stop_details: details } : {}),
      },
      usage: anthropicUsageOf(this.tokens),
    });
  }

  private tellBlock(event: BlockEvent): void {
    if (event.block !== this.shown?.number) this.held.get(event.block)?.events.push(event);
    else if (event.type === 'block_end') this.endShown();
    else this.tellShown(this.shown, event);
  }

  private show(number: number, content: NeutralBlock): void {
    this.shown = { number, content, index: undefined };
    if (content.kind === 'tool_call') {
      this.openShown(this.shown);
      if (content.tool === 'custom')
        this.delta(this.shown, { type: 'input_json_delta', partial_json: TEXT_INPUT_OPENING });
    } else if (content.kind === 'redacted_reasoning') {
      this.openShown(this.shown);
    }
  }

  private openShown(shown: ShownBlock): void {
    const content_block = blockOf(shown.content);
    if (shown.index !== undefined || !content_block) return;
    shown.index = this.nextIndex++;
    this.frames.push({ type: 'content_block_start', index: shown.index, content_block });
  }

  private tellShown(shown: ShownBlock, event: Exclude<BlockEvent, { readonly type: 'block_end' }>): void {
    const { content } = shown;
    if (event.type === 'signature') this.delta(shown, { type: 'signature_delta', signature: event.signature });
    else if (event.type === 'citation')
      this.delta(shown, { type: 'citations_delta', citation: citationOf(event.citation) });
    else if (content.kind === 'text' || content.kind === 'refusal') {
      this.delta(shown, { type: 'text_delta', text: event.text });
    } else if (content.kind === 'reasoning') {
      this.delta(shown, { type: 'thinking_delta', thinking: event.text });
    } else if (content.kind === 'tool_call') {
      const piece = content.tool === 'custom' ? textInputPiece(event.text) : event.text;
      this.delta(shown, { type: 'input_json_delta', partial_json: piece });
    }
  }

  private delta(shown: ShownBlock, delta: JsonObject): void {
    this.openShown(shown);
    if (shown.index !== undefined) this.frames.push({ type: 'content_block_delta', index: shown.index, delta });
  }

  /** What waited for its end is shown, up to a block that has not ended itself. */
  private endShown(): void {
    const { shown } = this;
    if (!shown) return;
    if (shown.content.kind === 'tool_call' && shown.content.tool === 'custom') {
      this.delta(shown, { type: 'input_json_delta', partial_json: TEXT_INPUT_END });
    }
    if (shown.index !== undefined) this.frames.push({ type: 'content_block_stop', index: shown.index });
    this.shown = undefined;
    const [next] = this.held;
    if (!next) return;
    const [number, { content, events }] = next;
    this.held.delete(number);
    this.show(number, content);
    for (const event of events) this.tellBlock(event);
  }
}

/** Undefined for what this dialect's clients have nothing to do with. */
function blockOf(content: NeutralBlock): JsonObject | undefined {
  switch (content.kind) {
    case 'text':
    case 'refusal':
      return { type: 'text', text: '' };
    case 'reasoning':
      return { type: 'thinking', thinking: '', signature: '' };
    case 'redacted_reasoning':
      return { type: 'redacted_thinking', data: content.data };
    case 'tool_call':
      return { type: 'tool_use', id: content.callId, name: content.name, input: {} };
    case 'provider_tool':
      return undefined;
  }
}

function citationOf({ url, title, citedText }: NeutralCitation): JsonObject {
  return {
    type: 'web_search_result_location',
    url,
    title: title ?? null,
    cited_text: citedText ?? '',
    encrypted_index: '',
  };
}
