import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isArray } from '../json-value';
import type { NeutralBlock, NeutralCitation, NeutralEvent } from '../neutral/neutral-event';
import { redactedDataIn } from './redacted-reasoning';

/** A part of a message, which is a block of its own. */
interface PartPlace {
  readonly item: number;
  readonly part: number;
  readonly kind: 'text' | 'refusal';
}

interface OpenBlock {
  readonly block: number;
  /** How much of its text was told: what repeats it whole tells the rest. */
  length: number;
  citations: number;
  isClosed: boolean;
}

/** Where in a reasoning item a text stands. */
interface ThoughtPlace {
  readonly isSummary: boolean;
  readonly part: number;
}

interface OpenThought {
  readonly isSummary: boolean;
  readonly block: OpenBlock;
  /** The part that is being written, and how long it is so far. */
  part: number;
  partLength: number;
}

/**
 * The output items of one response as blocks: a part of a message is a block, a reasoning item is one, a call is one.
 * Providers differ in what they stream of an item: what its last frames repeat whole is told as far as it is new.
 */
export class ItemBlocks {
  hasRefusal = false;
  hasToolCall = false;
  private nextBlock = 0;
  private readonly parts = new Map<string, OpenBlock>();
  private readonly calls = new Map<number, OpenBlock>();
  private readonly thoughts = new Map<number, OpenThought>();
  private readonly providerTools = new Map<number, OpenBlock>();
  /** Ids of reasoning items: that there is something to tell of one shows later. */
  private readonly thoughtIds = new Map<number, string>();

  constructor(private readonly emit: (event: NeutralEvent) => void) {}

  get hasAny(): boolean {
    return this.nextBlock > 0;
  }

  open(index: number, item: JsonObject): void {
    switch (item.type) {
      case 'message':
        return;
      case 'reasoning':
        if (typeof item.id === 'string') this.thoughtIds.set(index, item.id);
        return;
      case 'function_call':
      case 'custom_tool_call':
        this.hasToolCall = true;
        this.calls.set(index, this.start(callOf(item)));
        this.completeArguments(index, item.arguments ?? item.input);
        return;
      default:
        this.providerTools.set(index, this.start({ kind: 'provider_tool', name: toolNameOf(item) }));
    }
  }

  close(index: number, item: JsonObject): void {
    switch (item.type) {
      case 'message':
        for (const [at, part] of objectsIn(item.content).entries()) this.closePart(index, at, part);
        return;
      case 'reasoning':
        this.closeThought(index, item);
        return;
      case 'function_call':
      case 'custom_tool_call': {
        if (!this.calls.has(index)) this.open(index, item);
        this.completeArguments(index, item.arguments ?? item.input);
        this.stop(this.calls.get(index));
        return;
      }
      default:
        if (!this.providerTools.has(index)) this.open(index, item);
        this.stop(this.providerTools.get(index));
    }
  }

  closeAll(): void {
    const open = [...this.parts.values(), ...this.calls.values(), ...this.providerTools.values()];
    open.push(...[...this.thoughts.values()].map(({ block }) => block));
    for (const block of open.sort((a, b) => a.block - b.block)) this.stop(block);
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
    if (citation && !block.isClosed) this.emit({ type: 'citation', block: block.block, citation });
  }

  /** A piece of what was thought. Where a provider tells thoughts and what they come to, what comes first is told. */
  think(item: number, { isSummary, part }: ThoughtPlace, piece: unknown): void {
    const thought = this.thoughts.get(item) ?? this.startThought(item, isSummary, part);
    if (thought.isSummary !== isSummary || typeof piece !== 'string') return;
    if (part !== thought.part) {
      this.tell(thought.block, '\n\n');
      thought.part = part;
      thought.partLength = 0;
    }
    this.tell(thought.block, piece);
    thought.partLength += piece.length;
  }

  addArguments(item: number, piece: unknown): void {
    const block = this.calls.get(item);
    if (block) this.tell(block, piece);
  }

  completeArguments(item: number, whole: unknown): void {
    const block = this.calls.get(item);
    if (block) this.complete(block, whole);
  }

  private closeThought(index: number, item: JsonObject): void {
    this.open(index, item);
    for (const [isSummary, parts] of [[true, item.summary] as const, [false, item.content] as const]) {
      for (const [part, { text }] of objectsIn(parts).entries()) this.completeThought(index, { isSummary, part }, text);
    }
    const { encrypted_content: data } = item;
    const signature = typeof data === 'string' && data !== '' ? data : undefined;
    const thought = this.thoughts.get(index);
    if (thought) {
      if (signature !== undefined) this.emit({ type: 'signature', block: thought.block.block, signature });
      this.stop(thought.block);
    } else if (signature !== undefined) {
      this.stop(
        this.start({ kind: 'redacted_reasoning', data: redactedDataIn(signature) ?? signature, ...this.idOf(index) }),
      );
    }
  }

  /** What of a part was not told yet. Parts are told in order: one before that which is being written was told whole. */
  private completeThought(index: number, { isSummary, part }: ThoughtPlace, text: unknown): void {
    if (typeof text !== 'string' || text === '') return;
    const thought = this.thoughts.get(index);
    if (thought && (thought.isSummary !== isSummary || part < thought.part)) return;
    this.think(index, { isSummary, part }, part === thought?.part ? text.slice(thought.partLength) : text);
  }

  private startThought(item: number, isSummary: boolean, part: number): OpenThought {
    const block = this.start({ kind: 'reasoning', isSummary, ...this.idOf(item) });
    const thought = { isSummary, block, part, partLength: 0 };
    this.thoughts.set(item, thought);
    return thought;
  }

  private idOf(item: number): { readonly id?: string } {
    const id = this.thoughtIds.get(item);
    return id === undefined ? {} : { id };
  }

  private partAt({ item, part, kind }: PartPlace): OpenBlock {
    const key = `${item} ${part}`;
    const known = this.parts.get(key);
    if (known) return known;
    if (kind === 'refusal') this.hasRefusal = true;
    const block = this.start({ kind });
    this.parts.set(key, block);
    return block;
  }

  private start(content: NeutralBlock): OpenBlock {
    const block = this.nextBlock++;
    this.emit({ type: 'block_start', block, content });
    return { block, length: 0, citations: 0, isClosed: false };
  }

  private tell(open: OpenBlock, text: unknown): void {
    if (typeof text !== 'string' || text === '' || open.isClosed) return;
    open.length += text.length;
    this.emit({ type: 'delta', block: open.block, text });
  }

  private complete(open: OpenBlock, whole: unknown): void {
    if (typeof whole === 'string') this.tell(open, whole.slice(open.length));
  }

  private stop(open: OpenBlock | undefined): void {
    if (!open || open.isClosed) return;
    open.isClosed = true;
    this.emit({ type: 'block_end', block: open.block });
  }
}

function callOf({ type, call_id: callId, id, name }: JsonObject): NeutralBlock {
  const tool = type === 'function_call' ? 'function' : 'custom';
  return { kind: 'tool_call', tool, callId: textOf(callId) || textOf(id), name: textOf(name) };
}

function toolNameOf({ name, type }: JsonObject): string {
  return textOf(name) || textOf(type).replace(/_call$/, '');
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
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
