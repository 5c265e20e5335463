import { isDeepStrictEqual } from 'node:util';
import { list, type Json, num, obj, str } from './read-answer';

/** One server-sent event: its name, where it has one, and its data. */
export interface SseEvent {
  readonly event: string | undefined;
  readonly data: string;
}

/** Of whole bytes with LF, as the gateway renders them; comments are left out. */
export function sseEvents(text: string): readonly SseEvent[] {
  if (text !== '' && !text.endsWith('\n\n')) throw new Error(`the stream ends inside a frame: ${text.slice(-200)}`);
  return text
    .split('\n\n')
    .map((frame) => frame.split('\n'))
    .filter((lines) => lines.some((line) => line.startsWith('data:')))
    .map((lines) => ({
      event: lines.find((line) => line.startsWith('event: '))?.slice('event: '.length),
      data: lines
        .filter((line) => line.startsWith('data: '))
        .map((line) => line.slice('data: '.length))
        .join('\n'),
    }));
}

/** What is wrong with the order of a rendered stream, whose terminal frame is among the events; empty where nothing is. */
export function orderProblems(dialect: string, events: readonly SseEvent[]): readonly string[] {
  if (dialect === 'openai-chat') return chatProblems(events);
  if (dialect === 'anthropic-messages') return messageProblems(events);
  return responseProblems(events);
}

function chatProblems(events: readonly SseEvent[]): readonly string[] {
  const problems: string[] = [];
  if (events.at(-1)?.data !== '[DONE]') problems.push('does not end with [DONE]');
  const chunks = events.slice(0, -1).map(({ data }) => obj(JSON.parse(data)));
  if (events.some(({ event }) => event !== undefined)) problems.push('names its events');
  for (const key of ['id', 'model', 'created', 'object']) {
    if (new Set(chunks.map((chunk) => chunk[key])).size !== 1) problems.push(`${key} is not the same in every chunk`);
  }
  const choicesOf = (chunk: Json): readonly Json[] => list(chunk.choices).map(obj);
  const [first] = chunks.flatMap(choicesOf);
  if (obj(first?.delta).role !== 'assistant') problems.push('the first chunk has no role');
  const finishes = chunks.flatMap((chunk, at) => (choicesOf(chunk).some((c) => str(c.finish_reason)) ? [at] : []));
  if (finishes.length !== 1) problems.push(`${finishes.length} chunks give a reason to end`);
  const after = chunks.slice((finishes[0] ?? 0) + 1);
  if (after.some((chunk) => choicesOf(chunk).length > 0)) problems.push('a choice goes on after it has ended');
  if (after.length > 1 || after.some((chunk) => !chunk.usage))
    problems.push('something other than usage follows the end');
  return problems;
}

/** Which deltas a block of a type takes. */
const DELTAS: Readonly<Record<string, readonly string[]>> = {
  text: ['text_delta', 'citations_delta'],
  thinking: ['thinking_delta', 'signature_delta'],
  redacted_thinking: [],
  tool_use: ['input_json_delta'],
};

function messageProblems(events: readonly SseEvent[]): readonly string[] {
  const problems: string[] = [];
  let open: { index: number; type: string } | undefined;
  let next = 0;
  let stage: 'before' | 'content' | 'delta' | 'over' = 'before';
  for (const { event, data } of events) {
    const json = obj(JSON.parse(data));
    const type = str(json.type);
    if (event !== type) problems.push(`event ${event ?? 'none'} carries ${type}`);
    if (type === 'ping') continue;
    if (type === 'message_start') {
      const message = obj(json.message);
      if (stage !== 'before') problems.push('a second start');
      if (list(message.content).length > 0 || message.stop_reason !== null) problems.push('it starts with content');
      stage = 'content';
    } else if (stage === 'before' || stage === 'over') problems.push(`${type} ${stage}`);
    else if (type === 'content_block_start') {
      if (open || stage !== 'content' || json.index !== next) problems.push(`block ${num(json.index)} out of turn`);
      open = { index: num(json.index), type: str(obj(json.content_block).type) };
      if (!(open.type in DELTAS)) problems.push(`a block of type ${open.type}`);
      next += 1;
    } else if (type === 'content_block_delta') {
      const delta = str(obj(json.delta).type);
      if (!open || open.index !== json.index) problems.push(`a delta of block ${num(json.index)}, which is not open`);
      else if (!DELTAS[open.type]?.includes(delta)) problems.push(`a ${delta} in a ${open.type} block`);
    } else if (type === 'content_block_stop') {
      if (open?.index !== json.index) problems.push(`block ${num(json.index)} ends twice`);
      open = undefined;
    } else if (type === 'message_delta') {
      if (open || stage !== 'content') problems.push('message_delta out of turn');
      if (!str(obj(json.delta).stop_reason)) problems.push('no stop_reason');
      if (typeof obj(json.usage).output_tokens !== 'number') problems.push('no output_tokens');
      stage = 'delta';
    } else if (type === 'message_stop') {
      if (stage !== 'delta') problems.push('message_stop before message_delta');
      stage = 'over';
    } else problems.push(`an event ${type}`);
  }
  if (stage !== 'over') problems.push('no message_stop');
  return problems;
}

function responseProblems(events: readonly SseEvent[]): readonly string[] {
  const problems: string[] = [];
  const items: Json[] = [];
  const open = new Set<number>();
  const texts = new Map<string, string>();
  const json = events.map(({ data }) => obj(JSON.parse(data)));
  const types = json.map(({ type }) => str(type));
  if (types[0] !== 'response.created' || types[1] !== 'response.in_progress') problems.push('no created, in_progress');
  for (const [at, event] of json.entries()) {
    const type = types[at] ?? '';
    if (events[at]?.event !== type) problems.push(`event ${events[at]?.event ?? 'none'} carries ${type}`);
    if (event.sequence_number !== at) problems.push(`${type} ${at} has number ${String(event.sequence_number)}`);
    const index = num(event.output_index);
    if (type === 'response.output_item.added') {
      if (index !== items.length + open.size) problems.push(`item ${index} out of turn`);
      open.add(index);
    } else if (type === 'response.output_item.done') {
      if (!open.delete(index)) problems.push(`item ${index} ends without a start`);
      items[index] = obj(event.item);
      problems.push(...unfinished(obj(event.item), index, texts));
    } else if ('output_index' in event && !open.has(index))
      problems.push(`${type} of item ${index}, which is not open`);
    if (type.endsWith('.delta')) addText(texts, event);
    if (/_text\.done$|refusal\.done$|arguments\.done$|input\.done$/.test(type)) {
      const said = event.text ?? event.refusal ?? event.arguments ?? event.input;
      if (said !== (texts.get(textKey(event)) ?? '')) problems.push(`${type} says something else than its deltas`);
    }
  }
  const last = json.at(-1);
  if (!/^response\.(completed|incomplete)$/.test(types.at(-1) ?? '')) problems.push('no terminal event');
  if (open.size > 0) problems.push(`${open.size} items are open at the end`);
  if (!isDeepStrictEqual(obj(last?.response).output, items)) problems.push('the end does not repeat the items');
  return problems;
}

function textKey(event: Json): string {
  const kind = /(output_text|refusal|reasoning_text|reasoning_summary_text|arguments|input)\./.exec(
    str(event.type),
  )?.[1];
  return [event.output_index, event.content_index ?? event.summary_index ?? 0, kind].join(' ');
}

function addText(texts: Map<string, string>, event: Json): void {
  const key = textKey(event);
  texts.set(key, (texts.get(key) ?? '') + str(event.delta));
}

/** Parts of a whole item that its deltas did not say. */
function unfinished(item: Json, index: number, texts: ReadonlyMap<string, string>): readonly string[] {
  const problems: string[] = [];
  const check = (at: number, kind: string, said: unknown): void => {
    if (said !== (texts.get([index, at, kind].join(' ')) ?? '')) problems.push(`item ${index}: ${kind} is another`);
  };
  if (item.type === 'function_call') check(0, 'arguments', item.arguments);
  if (item.type === 'custom_tool_call') check(0, 'input', item.input);
  for (const [at, part] of list(item.content).map(obj).entries()) {
    if (part.type === 'refusal') check(at, 'refusal', part.refusal);
    else check(at, str(part.type), part.text);
  }
  for (const [at, part] of list(item.summary).map(obj).entries()) check(at, 'reasoning_summary_text', part.text);
  return problems;
}
