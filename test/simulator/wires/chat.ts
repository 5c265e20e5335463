import { type Answer, type Usage, zeroUsage } from '../answer';
import { type Behaviour, type HttpFailure } from '../behaviour';
import {
  imageFromUrl,
  isRecord,
  type JsonRecord,
  numberOr,
  recordsOf,
  RequestError,
  requiredModel,
  type SimRequest,
  textOf,
} from '../request';
import { type CalledTool, piecesOf, type Tool } from '../tools';
import { encodeFrame, type Frame, type FrameParts, paddingOf, type Whole, type Wire } from '../wire';

/** OpenAI's chat completions, and what those who copied them do otherwise. */
export const chatWire: Wire = {
  name: 'openai-chat',
  read: readRequest,
  stream: (request, answer, behaviour) => {
    const frames =
      behaviour.frames === undefined
        ? renderAnswer(request, answer, behaviour)
        : behaviour.frames.map((line) => frame(behaviour, line, { isContent: true, usage: reportedUsage(line) }));
    if (behaviour.done !== false) frames.push(frame(behaviour, '[DONE]'));
    return frames;
  },
  whole: renderWhole,
  errorEvent: (_request, _answer, behaviour) => {
    const message = behaviour.errorEventMessage ?? 'The server had an error while processing your request.';
    const error = { message, type: behaviour.errorEventType ?? 'server_error', param: null, code: null };
    return frame(behaviour, JSON.stringify({ error }));
  },
  garbage: (behaviour) => frame(behaviour, '{"id":"chatcmpl-broken","choices":[{"delta":{"con'),
  errorBody: openAiError,
};

export function openAiError(failure: HttpFailure): object {
  const { status, message = `scripted failure ${status}`, type = 'server_error', code = null } = failure;
  return { error: { message, type, param: null, code } };
}

function frame(behaviour: Behaviour, data: string, parts?: FrameParts): Frame {
  return encodeFrame(behaviour, undefined, data, parts);
}

function readRequest(body: JsonRecord): SimRequest {
  const model = requiredModel(body);
  const { messages, stream, stream_options: streamOptions, n, stop, tool_choice: choice } = body;
  if (!Array.isArray(messages) || messages.length === 0) throw new RequestError('messages', 'expected a list');
  const parts = recordsOf(messages).flatMap(({ content }) => recordsOf(content));
  const forced = isRecord(choice) && isRecord(choice.function) ? choice.function.name : undefined;
  return {
    wire: 'openai-chat',
    model,
    isStream: stream === true,
    wantsUsage: isRecord(streamOptions) && streamOptions.include_usage === true,
    prompt: messages.map((message: unknown) => (isRecord(message) ? textOf(message.content) : '')).join('\n'),
    maxTokens: numberOr(body.max_completion_tokens ?? body.max_tokens),
    choices: typeof n === 'number' && n > 1 ? n : 1,
    stopSequences: (Array.isArray(stop) ? stop : [stop]).filter((sequence) => typeof sequence === 'string'),
    images: parts
      .filter(({ type }) => type === 'image_url')
      .map(({ image_url: image }) => imageFromUrl(isRecord(image) ? image.url : image)),
    tools: recordsOf(body.tools).flatMap(toolOf),
    forcedTool: typeof forced === 'string' ? forced : undefined,
    body,
  };
}

function toolOf({ type, function: called, custom }: JsonRecord): Tool[] {
  const isCustom = type === 'custom';
  const { name } = isRecord(isCustom ? custom : called) ? ((isCustom ? custom : called) as JsonRecord) : {};
  return typeof name === 'string' ? [{ name, isCustom }] : [];
}

function renderAnswer(request: SimRequest, answer: Answer, behaviour: Behaviour): Frame[] {
  const style = behaviour.usage ?? 'on';
  const sendsNulls = style === 'null' || (request.wantsUsage && ['on', 'zero', 'twice'].includes(style));
  const padding = paddingOf(behaviour);
  const chunk = (choices: unknown[], usage: Usage | undefined, extra = {}): string =>
    JSON.stringify({
      id: `chatcmpl-sim-${answer.serial}`,
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
  const content = (index: number, fields: object, parts: FrameParts = {}): Frame =>
    frame(behaviour, chunk([delta(index, fields)], parts.usage, padding), { isContent: true, ...parts });

  const indexes = Array.from({ length: request.choices }, (_, index) => index);
  const frames = indexes.map((index) =>
    frame(behaviour, chunk([delta(index, { role: 'assistant', content: '', refusal: null })], undefined)),
  );
  for (const fields of reasoningDeltas(answer)) {
    for (const index of indexes) frames.push(content(index, fields));
  }
  answer.pieces.forEach((text, i) => {
    const usage = style === 'repeated' ? grownUsage(answer.usage, i + 1) : undefined;
    for (const index of indexes) frames.push(content(index, { content: text }, { text, usage }));
  });
  for (const text of answer.refusal ?? []) {
    for (const index of indexes) frames.push(content(index, { refusal: text }));
  }
  if (answer.citations.length > 0) frames.push(content(0, { annotations: annotationsOf(answer) }));
  for (const fields of toolCallDeltas(answer)) frames.push(content(0, { tool_calls: [fields] }));
  for (const index of indexes) {
    const usage = style === 'on_finish' && index === request.choices - 1 ? answer.usage : undefined;
    frames.push(frame(behaviour, chunk([delta(index, {}, answer.finishReason)], usage), { usage }));
  }
  for (const usage of finalUsages(request, answer, behaviour)) {
    frames.push(frame(behaviour, chunk([], usage), { usage }));
  }
  return frames;
}

/** Thoughts as DeepSeek sends them; what proves them, or cannot be read, as OpenRouter does. */
function reasoningDeltas({ reasoning }: Answer): object[] {
  return [
    ...redactedDetails(reasoning).map((detail) => ({ reasoning_details: [detail] })),
    ...reasoning.pieces.map((text) => ({ reasoning_content: text })),
    ...(reasoning.signature === undefined
      ? []
      : [{ reasoning_details: [{ type: 'reasoning.text', signature: reasoning.signature, index: 0 }] }]),
  ];
}

function redactedDetails({ redacted }: Answer['reasoning']): object[] {
  return redacted === undefined ? [] : [{ type: 'reasoning.encrypted', data: redacted, index: 1 }];
}

function annotationsOf({ citations, pieces }: Answer): object[] {
  return citations.map(({ url, title }) => ({
    type: 'url_citation',
    url_citation: { url, title, start_index: 0, end_index: pieces.join('').length },
  }));
}

function finalUsages(request: SimRequest, answer: Answer, behaviour: Behaviour): Usage[] {
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
    { index, ...toolCall(call, '') },
    ...piecesOf(call.arguments).map((piece) =>
      call.isCustom ? { index, custom: { input: piece } } : { index, function: { arguments: piece } },
    ),
  ]);
}

function toolCall({ id, name, isCustom }: CalledTool, text: string): object {
  return isCustom
    ? { id, type: 'custom', custom: { name, input: text } }
    : { id, type: 'function', function: { name, arguments: text } };
}

function renderWhole(request: SimRequest, answer: Answer, behaviour: Behaviour): Whole {
  const style = behaviour.usage ?? 'on';
  const usage = style === 'omitted' || style === 'null' ? undefined : style === 'zero' ? zeroUsage() : answer.usage;
  const json = JSON.stringify({
    id: `chatcmpl-sim-${answer.serial}`,
    object: 'chat.completion',
    created: answer.createdSeconds,
    model: request.model,
    choices: Array.from({ length: request.choices }, (_, index) => ({
      index,
      message: messageOf(answer),
      logprobs: null,
      finish_reason: answer.finishReason,
    })),
    ...(usage === undefined ? (style === 'null' ? { usage: null } : {}) : { usage }),
  });
  return { json, usage };
}

function messageOf(answer: Answer): object {
  const { reasoning, toolCalls } = answer;
  const text = answer.pieces.join('');
  const thought = reasoning.pieces.join('');
  const details = [
    ...redactedDetails(reasoning),
    ...(reasoning.signature === undefined
      ? []
      : [{ type: 'reasoning.text', text: thought, signature: reasoning.signature, index: 0 }]),
  ];
  return {
    role: 'assistant',
    content: text === '' && (toolCalls.length > 0 || answer.refusal) ? null : text,
    refusal: answer.refusal?.join('') ?? null,
    ...(thought === '' ? {} : { reasoning_content: thought }),
    ...(details.length > 0 ? { reasoning_details: details } : {}),
    ...(answer.citations.length > 0 ? { annotations: annotationsOf(answer) } : {}),
    ...(toolCalls.length > 0 ? { tool_calls: toolCalls.map((call) => toolCall(call, call.arguments)) } : {}),
  };
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
