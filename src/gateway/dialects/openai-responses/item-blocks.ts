import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isArray, textOf } from '../json-value';
import type { EventSink } from '../neutral/event-sink';
import type { NeutralBlock, NeutralCitation } from '../neutral/neutral-event';
import { redactedDataIn } from './redacted-reasoning';

/** A part of a message, which is a block of its own. */
interface PartPlace {
  readonly item: number;
  readonly part: number;
  readonly kind: 'text' | 'refusal';
}

/** Where in a reasoning item a text stands. */
interface ThoughtPlace {
  readonly isSummary: boolean;
  readonly part: number;
}

interface OpenBlock {
  readonly block: number;
  /** How much of its text was told: what repeats it whole tells the rest. */
  length: number;
  citations: number;
  isClosed: boolean;
}

interface OpenThought {
  readonly isSummary: boolean;
  readonly block: OpenBlock;
  /** The part that is being written, and how long it is so far. */
  part: number;
  partLength: number;
}

/** An output item as far as it was told. */
interface Item {
  /** Of a reasoning item: that there is something to tell of it shows later. */
  readonly id: { readonly id?: string };
  readonly parts: Map<number, OpenBlock>;
  /** A call, or a tool that the provider runs. */
  call?: OpenBlock;
  thought?: OpenThought;
  isEnded: boolean;
}

/**
 * The output items of one response as blocks: a part of a message is a block, a reasoning item is one, a call is one.
 * Providers differ in what they stream of an item: what its last frames repeat whole is told as far as it is new. Some
 * give each item the same index: one that begins where another has ended is another.
 */
export class ItemBlocks {
  hasRefusal = false;
  hasToolCall = false;
  hasAny = false;
  private readonly items = new Map<number, Item>();

  constructor(private readonly sink: EventSink) {}

  open(index: number, content: JsonObject): void {
    const before = this.items.get(index);
    if (before) this.stopAll(before);
    const { id } = content;
    const item: Item = { id: typeof id === 'string' ? { id } : {}, parts: new Map(), isEnded: false };
    this.items.set(index, item);
    switch (content.type) {
      case 'message':
      case 'reasoning':
        return;
      case 'function_call':
      case 'custom_tool_call':
        this.hasToolCall = true;
        item.call = this.start(callOf(content));
        this.complete(item.call, content.arguments ?? content.input);
        return;
      default:
        item.call = this.start({ kind: 'provider_tool', name: toolNameOf(content) });
    }
  }

  close(index: number, content: JsonObject): void {
    if (this.items.get(index)?.isEnded !== false) this.open(index, content);
    const item = this.itemAt(index);
    item.isEnded = true;
    for (const [part, told] of objectsIn(content.content).entries()) {
      if (content.type === 'message') this.closePart(index, part, told);
    }
    if (content.type === 'reasoning') this.closeThought(index, item, content);
    if (item.call) this.complete(item.call, content.arguments ?? content.input);
    this.stopAll(item);
  }

  closeAll(): void {
    for (const item of this.items.values()) this.stopAll(item);
  }

  openPart(item: number, part: number, content: JsonObject): void {
    const kind = kindOfPart(content);
    if (kind) this.partAt({ item, part, kind });
  }

  closePart(item: number, part: number, content: JsonObject): void {
    const kind = kindOfPart(content);
    if (!kind) return;
    const block = this.partAt({ item, part, kind });
    this.complete(block, content.text ?? content.refusal);
    for (const annotation of objectsIn(content.annotations).slice(block.citations)) this.cite(item, part, annotation);
    this.stop(block);
  }

  /** A piece of a message's text. */
  add(place: PartPlace, piece: unknown): void {
    this.tell(this.partAt(place), piece);
  }

  cite(item: number, part: number, annotation: unknown): void {
    if (!isObject(annotation)) return;
    const block = this.partAt({ item, part, kind: 'text' });
    block.citations++;
    const citation = citationOf(annotation);
    if (citation && !block.isClosed) this.sink.push({ type: 'citation', block: block.block, citation });
  }

  /** A piece of what was thought. Where a provider tells thoughts and what they come to, what comes first is told. */
  think(index: number, { isSummary, part }: ThoughtPlace, piece: unknown): void {
    const item = this.itemAt(index);
    item.thought ??= {
      ...{ isSummary, part, partLength: 0 },
      block: this.start({ kind: 'reasoning', isSummary, ...item.id }),
    };
    const { thought } = item;
    if (thought.isSummary !== isSummary || typeof piece !== 'string') return;
    if (part !== thought.part) {
      this.tell(thought.block, '\n\n');
      thought.part = part;
      thought.partLength = 0;
    }
    this.tell(thought.block, piece);
    thought.partLength += piece.length;
  }

  addArguments(index: number, piece: unknown): void {
    const call = this.items.get(index)?.call;
    if (call) this.tell(call, piece);
  }

  completeArguments(index: number, whole: unknown): void {
    const call = this.items.get(index)?.call;
    if (call) this.complete(call, whole);
  }

  private closeThought(index: number, item: Item, { summary, content, encrypted_content: data }: JsonObject): void {
    for (const [isSummary, parts] of [[true, summary] as const, [false, content] as const]) {
      for (const [part, { text }] of objectsIn(parts).entries()) this.completeThought(index, { isSummary, part }, text);
    }
    if (typeof data !== 'string' || data === '') return;
    const block = item.thought?.block.block;
    if (block === undefined) {
      this.stop(this.start({ kind: 'redacted_reasoning', data: redactedDataIn(data) ?? data, ...item.id }));
    } else {
      this.sink.push({ type: 'signature', block, signature: data });
    }
  }

  /** What of a part was not told yet. Parts are told in order: one before that which is being written was told whole. */
  private completeThought(index: number, { isSummary, part }: ThoughtPlace, text: unknown): void {
    if (typeof text !== 'string' || text === '') return;
    const { thought } = this.itemAt(index);
    if (thought && (thought.isSummary !== isSummary || part < thought.part)) return;
    this.think(index, { isSummary, part }, part === thought?.part ? text.slice(thought.partLength) : text);
  }

  /** Some providers do not say that an item begins. */
  private itemAt(index: number): Item {
    const known = this.items.get(index);
    if (known) return known;
    const item: Item = { id: {}, parts: new Map(), isEnded: false };
    this.items.set(index, item);
    return item;
  }

  private partAt({ item, part, kind }: PartPlace): OpenBlock {
    const { parts } = this.itemAt(item);
    const known = parts.get(part);
    if (known) return known;
    if (kind === 'refusal') this.hasRefusal = true;
    const block = this.start({ kind });
    parts.set(part, block);
    return block;
  }

  private start(content: NeutralBlock): OpenBlock {
    this.hasAny = true;
    return { block: this.sink.open(content), length: 0, citations: 0, isClosed: false };
  }

  private tell(open: OpenBlock, text: unknown): void {
    if (typeof text !== 'string' || open.isClosed) return;
    open.length += text.length;
    this.sink.delta(open.block, text);
  }

  private complete(open: OpenBlock, whole: unknown): void {
    if (typeof whole === 'string') this.tell(open, whole.slice(open.length));
  }

  private stopAll({ parts, call, thought }: Item): void {
    for (const block of [...parts.values(), call, thought?.block]) {
      if (block) this.stop(block);
    }
  }

  private stop(open: OpenBlock): void {
    if (open.isClosed) return;
    open.isClosed = true;
    this.sink.close(open.block);
  }
}

function callOf({ type, call_id: callId, id, name }: JsonObject): NeutralBlock {
  const tool = type === 'function_call' ? 'function' : 'custom';
  return { kind: 'tool_call', tool, callId: textOf(callId) || textOf(id), name: textOf(name) };
}

function toolNameOf({ name, type }: JsonObject): string {
  return textOf(name) || textOf(type).replace(/_call$/, '');
}

function kindOfPart({ type }: JsonObject): PartPlace['kind'] | undefined {
  if (type === 'output_text') return 'text';
  return type === 'refusal' ? 'refusal' : undefined;
}

/** Citations of files have no meaning outside their provider. */
function citationOf({ type, url, title }: JsonObject): NeutralCitation | undefined {
  if (type !== 'url_citation' || typeof url !== 'string') return undefined;
  return { url, ...(typeof title === 'string' ? { title } : {}) };
}

function objectsIn(list: unknown): readonly JsonObject[] {
  return isArray(list) ? list.filter(isObject) : [];
}
