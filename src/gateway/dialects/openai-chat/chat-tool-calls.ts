import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { EventSink } from '../neutral/event-sink';
import { textOf } from '../json-value';

/** A call as far as it came. It has a block once its name is known to be whole: with its first arguments, or what follows it. */
interface CallSoFar {
  readonly index: number | undefined;
  readonly tool: 'function' | 'custom';
  id: string;
  name: string;
  written: string;
  block: number | undefined;
  isClosed: boolean;
}

/**
 * Puts tool calls together from their pieces. Providers repeat the id and the name, or leave them out after the first
 * piece; some leave the index out, or give every call the same; some send whole calls.
 */
export class ChatToolCalls {
  private readonly calls: CallSoFar[] = [];

  /** @param sink where the events go */
  constructor(private readonly sink: EventSink) {}

  get hasCalls(): boolean {
    return this.calls.length > 0;
  }

  /** @param answerId names calls that the provider gave no id */
  add(piece: JsonObject, answerId: string): void {
    const custom = isObject(piece.custom) ? piece.custom : undefined;
    const called = custom ?? (isObject(piece.function) ? piece.function : {});
    const [id, name] = [textOf(piece.id), textOf(called.name)];
    const text = textOf(called.arguments ?? called.input);
    const index = typeof piece.index === 'number' ? piece.index : undefined;
    const known = this.find(index, id, name);
    const call =
      known && !isAnother(known, id, name, text) ? known : this.begin(index, custom ? 'custom' : 'function', answerId);
    if (call.id === '') call.id = id;
    // A name may come in pieces, until the arguments begin, or again and again.
    if (call.block === undefined && name !== call.name) call.name += name;
    if (text === '') return;
    this.start(call, answerId);
    call.written += text;
    if (call.block !== undefined && !call.isClosed) this.sink.delta(call.block, text);
  }

  /** Another block begins: what has come is what there is of calls whose arguments are whole. */
  settle(answerId: string): void {
    for (const call of this.calls) {
      this.start(call, answerId);
      if (call.tool === 'function' && !call.isClosed && isWhole(call.written)) this.close(call);
    }
  }

  end(answerId: string): void {
    for (const call of this.calls) {
      this.start(call, answerId);
      this.close(call);
    }
  }

  private find(index: number | undefined, id: string, name: string): CallSoFar | undefined {
    if (index !== undefined) return this.calls.findLast((call) => call.index === index);
    if (id !== '') return this.calls.find((call) => call.id === id);
    return name === '' ? this.calls.at(-1) : undefined;
  }

  private begin(index: number | undefined, tool: CallSoFar['tool'], answerId: string): CallSoFar {
    this.settle(answerId);
    const call = { index, tool, id: '', name: '', written: '', block: undefined, isClosed: false };
    this.calls.push(call);
    return call;
  }

  private start(call: CallSoFar, answerId: string): void {
    if (call.block !== undefined) return;
    if (call.id === '') call.id = `call_${answerId.replace(/[^\w-]/g, '')}_${this.calls.indexOf(call)}`;
    const { tool, id: callId, name } = call;
    call.block = this.sink.open({ kind: 'tool_call', tool, callId, name });
  }

  private close(call: CallSoFar): void {
    if (call.isClosed || call.block === undefined) return;
    call.isClosed = true;
    this.sink.close(call.block);
  }
}

/** Whether a piece under the index of a known call begins a call of its own. */
function isAnother(known: CallSoFar, id: string, name: string, text: string): boolean {
  if (name === '') return false;
  if (id !== '' && known.id !== '') return id !== known.id;
  return text !== '' && known.written !== '' && (name !== known.name || isWhole(known.written));
}

/** Nothing can be added to JSON that is whole. */
function isWhole(json: string): boolean {
  try {
    JSON.parse(json);
    return true;
  } catch {
    return false;
  }
}
