import {
  AnswerParts,
  list,
  type Json,
  num,
  obj,
  type ReadAnswer,
  type ReadFinish,
  type ReadUsage,
  str,
} from './read-answer';

const FINISHES: Readonly<Record<string, ReadFinish>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool_calls',
  refusal: 'refusal',
  pause_turn: 'pause',
};

/** Of the JSON of each event. */
export function readMessageStream(events: readonly Json[]): ReadAnswer {
  const parts = new AnswerParts();
  const blocks: { start: Json; json: string }[] = [];
  let usage: Json | undefined;
  for (const event of events) {
    const message = obj(event.message);
    if (event.type === 'message_start') {
      usage = obj(message.usage);
      for (const content of list(message.content).map(obj)) addWhole(parts, content);
      endWith(parts, message);
    } else if (event.type === 'content_block_start') {
      blocks[num(event.index)] = { start: obj(event.content_block), json: '' };
      addStart(parts, obj(event.content_block));
    } else if (event.type === 'content_block_delta') {
      const delta = obj(event.delta);
      addDelta(parts, delta);
      const block = blocks[num(event.index)];
      if (block && delta.type === 'input_json_delta') block.json += str(delta.partial_json);
    } else if (event.type === 'content_block_stop') {
      const block = blocks[num(event.index)];
      if (block?.start.type === 'tool_use')
        addCall(parts, block.start, block.json || JSON.stringify(block.start.input));
    } else if (event.type === 'message_delta') {
      usage = { ...usage, ...obj(event.usage) };
      endWith(parts, obj(event.delta));
    }
  }
  parts.usage = usage && readMessageUsage(usage);
  return parts.answer();
}

export function readMessageBody(body: Json): ReadAnswer {
  const parts = new AnswerParts();
  for (const content of list(body.content).map(obj)) addWhole(parts, content);
  endWith(parts, body);
  parts.usage = typeof body.usage === 'object' ? readMessageUsage(obj(body.usage)) : undefined;
  return parts.answer();
}

/** A block of a stream as it begins; calls are added when they are whole. */
function addStart(parts: AnswerParts, block: Json): void {
  if (block.type === 'tool_use') return;
  addWhole(parts, block);
}

function addWhole(parts: AnswerParts, block: Json): void {
  if (block.type === 'text') parts.text += str(block.text);
  if (block.type === 'thinking') {
    parts.reasoning += str(block.thinking);
    if (str(block.signature) !== '') parts.signatures.push(str(block.signature));
  }
  if (block.type === 'redacted_thinking') parts.signatures.push(str(block.data));
  if (block.type === 'tool_use') addCall(parts, block, JSON.stringify(block.input));
  for (const citation of list(block.citations).map(obj)) addCitation(parts, citation);
}

function addDelta(parts: AnswerParts, delta: Json): void {
  if (delta.type === 'text_delta') parts.text += str(delta.text);
  if (delta.type === 'thinking_delta') parts.reasoning += str(delta.thinking);
  if (delta.type === 'signature_delta') parts.signatures.push(str(delta.signature));
  if (delta.type === 'citations_delta') addCitation(parts, obj(delta.citation));
}

function addCitation(parts: AnswerParts, citation: Json): void {
  if (str(citation.url) !== '') parts.citations.push(str(citation.url));
}

function addCall(parts: AnswerParts, block: Json, json: string): void {
  parts.calls.push({ kind: 'function', id: str(block.id), name: str(block.name), arguments: json });
}

function endWith(parts: AnswerParts, said: Json): void {
  parts.finish = FINISHES[str(said.stop_reason)] ?? parts.finish;
  parts.refusal += str(obj(said.stop_details).explanation);
}

function readMessageUsage(usage: Json): ReadUsage {
  return {
    input: num(usage.input_tokens),
    cached: num(usage.cache_read_input_tokens),
    cacheWrite: num(usage.cache_creation_input_tokens),
    output: num(usage.output_tokens),
    reasoning: 0,
  };
}
