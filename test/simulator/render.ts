import { type Answer, type ChatRequest, type Usage, zeroUsage } from './answer';
import { type Behaviour } from './behaviour';

/** One server-sent event on its way out. */
export interface Frame {
  readonly bytes: Buffer;
  /** What failure points count. */
  readonly isContent: boolean;
  readonly text: string;
  /** Usage this frame reports; undefined where it reports none. */
  readonly usage: Usage | undefined;
}

/** The frames of a whole, healthy stream in the style the behaviour asks for. */
export function renderStream(request: ChatRequest, answer: Answer, behaviour: Behaviour): Frame[] {
  const encode = frameEncoder(behaviour);
  const frames =
    behaviour.frames === undefined
      ? renderAnswer(request, answer, behaviour, encode)
      : behaviour.frames.map((line) => encode(line, true, '', reportedUsage(line)));
  if (behaviour.done !== false) frames.push(encode('[DONE]', false));
  return frames;
}

type Encode = (data: string, isContent: boolean, text?: string, usage?: Usage) => Frame;

function frameEncoder(behaviour: Behaviour): Encode {
  const eol = behaviour.lineEnding ?? '\n';
  const prefix = behaviour.comments === true ? `: keep-alive${eol}${eol}` : '';
  return (data, isContent, text = '', usage?: Usage) => ({
    bytes: Buffer.from(`${prefix}data: ${data}${eol}${eol}`),
    isContent,
    text,
    usage,
  });
}

function renderAnswer(request: ChatRequest, answer: Answer, behaviour: Behaviour, encode: Encode): Frame[] {
  const style = behaviour.usage ?? 'on';
  const sendsNulls = style === 'null' || (request.wantsUsage && ['on', 'zero', 'twice'].includes(style));
  const padding = behaviour.padFrameBytes === undefined ? {} : { padding: 'x'.repeat(behaviour.padFrameBytes) };
  const chunk = (choices: unknown[], usage: Usage | undefined, extra = {}): string =>
    JSON.stringify({
      id: answer.id,
      object: 'chat.completion.chunk',
      created: answer.createdSeconds,
      model: request.model,
      choices,
      ...(usage === undefined ? (sendsNulls ? { usage: null } : {}) : { usage }),
      ...extra,
    });
  const delta = (index: number, fields: object, finishReason: string | null = null): object => ({
    index,
    delta: fields,
    logprobs: null,
    finish_reason: finishReason,
  });

  const frames: Frame[] = [];
  const indexes = Array.from({ length: request.choices }, (_, index) => index);
  for (const index of indexes) {
    frames.push(encode(chunk([delta(index, { role: 'assistant', content: '', refusal: null })], undefined), false));
  }
  answer.pieces.forEach((text, i) => {
    for (const index of indexes) {
      const usage = style === 'repeated' ? grownUsage(answer.usage, i + 1) : undefined;
      frames.push(encode(chunk([delta(index, { content: text })], usage, padding), true, text, usage));
    }
  });
  for (const fields of toolCallDeltas(answer)) {
    frames.push(encode(chunk([delta(0, { tool_calls: [fields] })], undefined, padding), true));
  }
  for (const index of indexes) {
    const usage = style === 'on_finish' && index === request.choices - 1 ? answer.usage : undefined;
    frames.push(encode(chunk([delta(index, {}, answer.finishReason)], usage), false, '', usage));
  }
  for (const usage of finalUsages(request, answer, behaviour)) {
    frames.push(encode(chunk([], usage), false, '', usage));
  }
  return frames;
}

function finalUsages(request: ChatRequest, answer: Answer, behaviour: Behaviour): Usage[] {
  switch (behaviour.usage ?? 'on') {
    case 'on':
      return request.wantsUsage ? [answer.usage] : [];
    case 'zero':
      return request.wantsUsage ? [zeroUsage()] : [];
    case 'twice':
      return [{ ...zeroUsage(), prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }, answer.usage];
    case 'repeated':
      return [answer.usage];
    case 'omitted':
    case 'null':
    case 'on_finish':
      return [];
  }
}

function grownUsage(final: Usage, completionTokens: number): Usage {
  return {
    ...final,
    completion_tokens: completionTokens,
    total_tokens: final.prompt_tokens + completionTokens,
  };
}

/** As OpenAI streams parallel calls: name first with empty arguments, then pieces, one call after the other. */
function toolCallDeltas(answer: Answer): object[] {
  return answer.toolCalls.flatMap((call, index) => [
    { index, id: call.id, type: 'function', function: { name: call.name, arguments: '' } },
    ...(call.arguments.match(/[^]{1,5}/gu) ?? []).map((piece) => ({ index, function: { arguments: piece } })),
  ]);
}

/** The body of a non-stream answer. */
export function renderWhole(
  request: ChatRequest,
  answer: Answer,
  behaviour: Behaviour,
): { json: string; usage?: Usage } {
  const style = behaviour.usage ?? 'on';
  const usage = style === 'omitted' || style === 'null' ? undefined : style === 'zero' ? zeroUsage() : answer.usage;
  const text = answer.pieces.join('');
  const toolCalls = answer.toolCalls.map((call) => ({
    id: call.id,
    type: 'function',
    function: { name: call.name, arguments: call.arguments },
  }));
  const message = {
    role: 'assistant',
    content: text === '' && toolCalls.length > 0 ? null : text,
    refusal: null,
    ...(toolCalls.length > 0 ? { tool_calls: toolCalls } : {}),
  };
  const json = JSON.stringify({
    id: answer.id,
    object: 'chat.completion',
    created: answer.createdSeconds,
    model: request.model,
    choices: Array.from({ length: request.choices }, (_, index) => ({
      index,
      message,
      logprobs: null,
      finish_reason: answer.finishReason,
    })),
    ...(usage === undefined ? (style === 'null' ? { usage: null } : {}) : { usage }),
  });
  return usage === undefined ? { json } : { json, usage };
}

export function renderErrorEvent(behaviour: Behaviour): Frame {
  const message = behaviour.errorEventMessage ?? 'The server had an error while processing your request.';
  return frameEncoder(behaviour)(
    JSON.stringify({ error: { message, type: 'server_error', param: null, code: null } }),
    false,
  );
}

export function renderGarbage(behaviour: Behaviour): Frame {
  return frameEncoder(behaviour)('{"id":"chatcmpl-broken","choices":[{"delta":{"con', false);
}

/** Only for the log of a replay: the gateway has its own reading of usage, and the two are compared by tests. */
function reportedUsage(line: string): Usage | undefined {
  try {
    const { usage } = JSON.parse(line) as { usage?: Usage | null };
    return usage ?? undefined;
  } catch {
    return undefined;
  }
}
