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
  stop: 'stop',
  length: 'length',
  tool_calls: 'tool_calls',
  content_filter: 'content_filter',
};

/** Of the JSON of each chunk, without `[DONE]`. */
export function readChatStream(chunks: readonly Json[]): ReadAnswer {
  const parts = new AnswerParts();
  const callAt = new Map<number, AnswerParts['calls'][number]>();
  for (const chunk of chunks) {
    parts.usage = readChatUsage(chunk.usage) ?? parts.usage;
    for (const choice of list(chunk.choices).map(obj)) {
      const delta = obj(choice.delta);
      addMessage(parts, delta);
      for (const [position, piece] of list(delta.tool_calls).map(obj).entries()) {
        addCallPiece(parts, callAt, typeof piece.index === 'number' ? piece.index : position, piece);
      }
      parts.finish = FINISHES[str(choice.finish_reason)] ?? parts.finish;
    }
  }
  return parts.answer();
}

export function readChatBody(body: Json): ReadAnswer {
  const parts = new AnswerParts();
  parts.usage = readChatUsage(body.usage);
  const choice = obj(list(body.choices)[0]);
  const message = obj(choice.message);
  addMessage(parts, message);
  for (const [index, call] of list(message.tool_calls).map(obj).entries()) {
    addCallPiece(parts, new Map(), index, call);
  }
  parts.finish = FINISHES[str(choice.finish_reason)] ?? parts.finish;
  return parts.answer();
}

function addMessage(parts: AnswerParts, message: Json): void {
  parts.text += str(message.content);
  parts.refusal += str(message.refusal);
  // Two names of one thing: a provider that sends both says it twice.
  parts.reasoning += str(message.reasoning_content) || str(message.reasoning);
  for (const detail of list(message.reasoning_details).map(obj)) {
    const proof = str(detail.signature) || str(detail.data);
    if (proof !== '') parts.signatures.push(proof);
  }
  for (const annotation of list(message.annotations).map(obj)) {
    parts.citations.push(str(obj(annotation.url_citation).url));
  }
}

function addCallPiece(
  parts: AnswerParts,
  callAt: Map<number, AnswerParts['calls'][number]>,
  index: number,
  piece: Json,
): void {
  const [called, custom] = [obj(piece.function), obj(piece.custom)];
  let call = callAt.get(index);
  if (!call) {
    call = { kind: piece.type === 'custom' ? 'custom' : 'function', id: str(piece.id), name: '', arguments: '' };
    callAt.set(index, call);
    parts.calls.push(call);
  }
  call.name += str(called.name) + str(custom.name);
  call.arguments += str(called.arguments) + str(custom.input);
}

/** Most providers count reasoning into the completion; xAI counts it beside, which its total shows. */
function readChatUsage(value: unknown): ReadUsage | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const usage = obj(value);
  const [prompt, completion] = [num(usage.prompt_tokens), num(usage.completion_tokens)];
  const cached = num(obj(usage.prompt_tokens_details).cached_tokens);
  const cacheWrite = num(obj(usage.prompt_tokens_details).cache_write_tokens);
  const reasoning = num(obj(usage.completion_tokens_details).reasoning_tokens);
  const isBeside = reasoning > 0 && num(usage.total_tokens) === prompt + completion + reasoning;
  const output = isBeside ? completion : completion - reasoning;
  return { input: prompt - cached - cacheWrite, cached, cacheWrite, output, reasoning };
}
