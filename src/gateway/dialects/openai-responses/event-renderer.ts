import type { TokenCounts } from '../../../catalogue/price';
import type { JsonObject } from '../../../kernel/json-object';
import type { AnswerLook, EventRenderer } from '../dialect';
import { renderEvent } from '../event-frame';
import type { NeutralBlock, NeutralEvent, NeutralFinishReason } from '../neutral/neutral-event';
import { DeclaredTools } from './declared-tools';
import {
  CustomCallItem,
  FunctionCallItem,
  type ItemPlace,
  type ItemStatus,
  MessageItem,
  type OutputItem,
  ReasoningItem,
} from './output-item';
import { markRedacted } from './redacted-reasoning';
import { responseEcho } from './response-echo';
import { responsesUsageOf } from './usage';

/**
 * The frames of one response, in OpenAI's order:
 *
 *   created · in_progress · (output_item.added · … · output_item.done)* · completed | incomplete
 *
 * Every block is an item of its own, so that those which are open at once do not mix. Tools that the provider ran itself
 * are left out.
 */
export class ResponseEventRenderer implements EventRenderer {
  private sequence = 0;
  private hasStarted = false;
  private readonly echo: JsonObject;
  private readonly tools: DeclaredTools;
  private readonly items: OutputItem[] = [];
  private readonly open = new Map<number, OutputItem>();
  private reason: NeutralFinishReason | undefined;
  private hasRefusal = false;
  private usage: TokenCounts | undefined;

  constructor(private readonly look: AnswerLook) {
    this.echo = responseEcho(look);
    this.tools = new DeclaredTools(look.request.body);
  }

  /** As it stands: whole once every event was rendered. */
  get response(): JsonObject {
    return this.responseAs(this.status, this.incompleteReason, this.items);
  }

  render(event: NeutralEvent): string {
    switch (event.type) {
      case 'start':
        return this.start();
      case 'block_start':
        return this.start() + this.begin(event.block, event.content);
      case 'delta':
        return this.written(this.open.get(event.block)?.add(event.text) ?? []);
      case 'block_end':
        return this.end(event.block, 'completed');
      case 'signature':
        this.sign(event.block, event.signature);
        return '';
      case 'citation': {
        const item = this.open.get(event.block);
        if (item instanceof MessageItem) item.cite(event.citation);
        return '';
      }
      case 'finish':
        this.reason = event.reason;
        return this.start();
      case 'usage':
        this.usage = event.tokens;
        return '';
      case 'end':
        return this.start();
    }
  }

  cut(billed: TokenCounts | undefined): string {
    const started = this.start();
    const ended = [...this.open.keys()].map((block) => this.end(block, 'incomplete'));
    this.reason = 'length';
    this.usage = billed;
    return started + ended.join('');
  }

  terminal(): string {
    const type = this.incompleteReason === undefined ? 'response.completed' : 'response.incomplete';
    return this.start() + this.written([{ type, response: this.response }]);
  }

  private get status(): ItemStatus {
    return this.incompleteReason === undefined ? 'completed' : 'incomplete';
  }

  private get incompleteReason(): string | undefined {
    if (this.reason === 'length') return 'max_output_tokens';
    // Of an answer that was refused without a word of it, this is the nearest that can be said.
    const isFiltered = this.reason === 'content_filter' || (this.reason === 'refusal' && !this.hasRefusal);
    return isFiltered ? 'content_filter' : undefined;
  }

  private responseAs(status: ItemStatus, reason: string | undefined, items: readonly OutputItem[]): JsonObject {
    return {
      ...this.echo,
      status,
      incomplete_details: reason === undefined ? null : { reason },
      output: items.map(({ json }) => json),
      ...(this.usage ? { usage: responsesUsageOf(this.usage) } : {}),
    };
  }

  private start(): string {
    if (this.hasStarted) return '';
    this.hasStarted = true;
    const response = this.responseAs('in_progress', undefined, []);
    return this.written([
      { type: 'response.created', response },
      { type: 'response.in_progress', response },
    ]);
  }

  private begin(block: number, content: NeutralBlock): string {
    const item = this.itemOf(content);
    if (!item) return '';
    this.items.push(item);
    this.open.set(block, item);
    return this.written(item.begin());
  }

  private itemOf(content: NeutralBlock): OutputItem | undefined {
    switch (content.kind) {
      case 'refusal':
        this.hasRefusal = true;
        return new MessageItem(this.place('msg'), 'refusal');
      case 'text':
        return new MessageItem(this.place('msg'), 'text');
      case 'reasoning':
        return new ReasoningItem(this.place('rs'), undefined);
      case 'redacted_reasoning':
        return new ReasoningItem(this.place('rs'), markRedacted(content.data));
      case 'tool_call': {
        const { name, namespace, isCustom } = this.tools.of(content.name) ?? { name: content.name, isCustom: false };
        const call = { callId: content.callId, name, ...(namespace === undefined ? {} : { namespace }) };
        const isFunction = content.tool === 'function';
        return isFunction && !isCustom
          ? new FunctionCallItem(this.place('fc'), call)
          : new CustomCallItem(this.place('ctc'), call, isFunction);
      }
      case 'provider_tool':
        return undefined;
    }
  }

  private place(prefix: string): ItemPlace {
    const output_index = this.items.length;
    return { item_id: `${prefix}_${this.look.answerId}_${output_index}`, output_index };
  }

  private end(block: number, status: ItemStatus): string {
    const item = this.open.get(block);
    this.open.delete(block);
    return this.written(item?.end(status) ?? []);
  }

  private sign(block: number, signature: string): void {
    const item = this.open.get(block);
    if (item instanceof ReasoningItem) item.sign(signature);
  }

  private written(frames: readonly JsonObject[]): string {
    return frames.map((frame) => renderEvent({ ...frame, sequence_number: this.sequence++ })).join('');
  }
}

export function renderWholeResponse(events: readonly NeutralEvent[], look: AnswerLook): JsonObject {
  const renderer = new ResponseEventRenderer(look);
  for (const event of events) renderer.render(event);
  return renderer.response;
}
