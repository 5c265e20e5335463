import type { TokenCounts } from '../../../catalogue/price';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { EventParser } from '../dialect';
import { isArray, textOf } from '../json-value';
import type { NeutralBlock, NeutralCitation, NeutralEvent } from '../neutral/neutral-event';
import { finishReasonOf } from './stop-reason';
import { usageFromAnthropic } from './usage';

/** A block between its start and its stop. */
interface OpenBlock {
  readonly block: number;
  readonly kind: NeutralBlock['kind'];
  /** Arguments that came with the start; those that come in pieces take their place. */
  readonly givenInput: string;
  hasPieces: boolean;
  signature: string;
}

/** The events of a stream of one message. */
export class MessageEventParser implements EventParser {
  private events: NeutralEvent[] = [];
  private readonly open = new Map<number, OpenBlock>();
  private nextBlock = 0;
  private hasStarted = false;
  private stopReason: string | undefined;
  private stopSequence: string | undefined;
  private refusal: string | undefined;
  private usage: TokenCounts | undefined;

  parse(frame: JsonObject): readonly NeutralEvent[] {
    const index = typeof frame.index === 'number' ? frame.index : 0;
    switch (frame.type) {
      case 'message_start':
        if (isObject(frame.message)) this.start(frame.message);
        break;
      case 'content_block_start':
        if (isObject(frame.content_block)) this.startBlock(index, frame.content_block);
        break;
      case 'content_block_delta':
        if (isObject(frame.delta)) this.addDelta(index, frame.delta);
        break;
      case 'content_block_stop':
        this.stopBlock(index);
        break;
      case 'message_delta':
        if (isObject(frame.delta)) this.noteStop(frame.delta);
        this.noteUsage(frame.usage);
        break;
    }
    return this.taken();
  }

  end(): readonly NeutralEvent[] {
    if (!this.hasStarted) this.start({});
    for (const index of [...this.open.keys()]) this.stopBlock(index);
    if (this.refusal !== undefined) this.tellRefusal(this.refusal);
    const stopSequence = this.stopSequence === undefined ? {} : { stopSequence: this.stopSequence };
    this.events.push({ type: 'finish', reason: finishReasonOf(this.stopReason ?? ''), ...stopSequence });
    if (this.usage) this.events.push({ type: 'usage', tokens: this.usage });
    this.events.push({ type: 'end' });
    return this.taken();
  }

  private taken(): readonly NeutralEvent[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  /** Content and end are there already where the message was not written just now: a server tool asked for more calls. */
  private start(message: JsonObject): void {
    this.hasStarted = true;
    const { id, model, content } = message;
    this.events.push({
      type: 'start',
      id: textOf(id),
      model: textOf(model),
    });
    for (const [index, block] of (isArray(content) ? content : []).entries()) {
      if (!isObject(block)) continue;
      this.startBlock(index, block);
      this.stopBlock(index);
    }
    this.noteStop(message);
    this.noteUsage(message.usage);
  }

  private startBlock(index: number, content: JsonObject): void {
    this.stopBlock(index);
    const block = neutralBlockOf(content);
    const open: OpenBlock = {
      block: this.nextBlock++,
      kind: block.kind,
      givenInput: isObject(content.input) ? JSON.stringify(content.input) : '{}',
      hasPieces: false,
      signature: '',
    };
    this.open.set(index, open);
    this.events.push({ type: 'block_start', block: open.block, content: block });
    if (open.kind === 'text') {
      this.tell(open, content.text);
      for (const citation of isArray(content.citations) ? content.citations : []) this.cite(open, citation);
    } else if (open.kind === 'reasoning') {
      this.tell(open, content.thinking);
      open.signature = typeof content.signature === 'string' ? content.signature : '';
    }
  }

  private addDelta(index: number, delta: JsonObject): void {
    const open = this.open.get(index);
    if (!open) return;
    if (delta.type === 'text_delta' && open.kind === 'text') this.tell(open, delta.text);
    else if (delta.type === 'citations_delta' && open.kind === 'text') this.cite(open, delta.citation);
    else if (delta.type === 'thinking_delta' && open.kind === 'reasoning') this.tell(open, delta.thinking);
    else if (delta.type === 'signature_delta' && typeof delta.signature === 'string') open.signature += delta.signature;
    else if (delta.type === 'input_json_delta' && open.kind === 'tool_call') this.addInput(open, delta.partial_json);
  }

  private addInput(open: OpenBlock, piece: unknown): void {
    if (typeof piece !== 'string' || piece === '') return;
    open.hasPieces = true;
    this.tell(open, piece);
  }

  private stopBlock(index: number): void {
    const open = this.open.get(index);
    if (!open) return;
    this.open.delete(index);
    const { block, kind, signature } = open;
    if (kind === 'tool_call' && !open.hasPieces) this.tell(open, open.givenInput);
    if (kind === 'reasoning' && signature !== '') this.events.push({ type: 'signature', block, signature });
    this.events.push({ type: 'block_end', block });
  }

  private tell({ block }: OpenBlock, text: unknown): void {
    if (typeof text === 'string' && text !== '') this.events.push({ type: 'delta', block, text });
  }

  private cite({ block }: OpenBlock, told: unknown): void {
    const citation = isObject(told) ? citationOf(told) : undefined;
    if (citation) this.events.push({ type: 'citation', block, citation });
  }

  private noteStop({ stop_reason: reason, stop_sequence: sequence, stop_details: details }: JsonObject): void {
    if (typeof reason === 'string') this.stopReason = reason;
    if (typeof sequence === 'string') this.stopSequence = sequence;
    if (isObject(details) && typeof details.explanation === 'string') this.refusal = details.explanation;
  }

  private noteUsage(usage: unknown): void {
    if (!isObject(usage)) return;
    this.usage = usageFromAnthropic(usage, this.usage);
  }

  /** Why the provider refused: nothing the model wrote, but all that there is to read. */
  private tellRefusal(explanation: string): void {
    if (explanation === '') return;
    const block = this.nextBlock++;
    this.events.push({ type: 'block_start', block, content: { kind: 'refusal' } });
    this.events.push({ type: 'delta', block, text: explanation }, { type: 'block_end', block });
  }
}

/** The events of a whole message, which is told like one that starts with all its content. */
export function eventsOfMessage(message: JsonObject): readonly NeutralEvent[] {
  const parser = new MessageEventParser();
  return [...parser.parse({ type: 'message_start', message }), ...parser.end()];
}

/** What is thought is told as a summary: no model that is served today tells it word for word. */
function neutralBlockOf(block: JsonObject): NeutralBlock {
  const name = typeof block.name === 'string' ? block.name : '';
  switch (block.type) {
    case 'text':
      return { kind: 'text' };
    case 'thinking':
      return { kind: 'reasoning', isSummary: true };
    case 'redacted_thinking':
      return { kind: 'redacted_reasoning', data: typeof block.data === 'string' ? block.data : '' };
    case 'tool_use':
      return { kind: 'tool_call', tool: 'function', callId: typeof block.id === 'string' ? block.id : '', name };
    default:
      return { kind: 'provider_tool', name: name === '' ? String(block.type) : name };
  }
}

/** Of places on the web; a place in a document that the client sent has no name in other dialects. */
function citationOf({ type, url, source, title, cited_text: citedText }: JsonObject): NeutralCitation | undefined {
  const place = type === 'search_result_location' ? source : url;
  if (typeof place !== 'string' || !/^https?:\/\//.test(place)) return undefined;
  return {
    url: place,
    ...(typeof title === 'string' ? { title } : {}),
    ...(typeof citedText === 'string' && citedText !== '' ? { citedText } : {}),
  };
}
