import { RECORDED_CHARGES } from '../recorded-charges';
import type { RecordedCall } from '../recorded-streams';
import { readChatBody, readChatStream } from './read-chat';
import type { Json, ReadAnswer, ReadCall, ReadFinish, ReadUsage } from './read-answer';
import { obj } from './read-answer';
import { readMessageBody, readMessageStream } from './read-messages';
import { readResponseBody, readResponseStream } from './read-responses';

export const CONVERSATIONS = ['openai-chat', 'openai-responses', 'anthropic-messages'] as const;
export type Conversation = (typeof CONVERSATIONS)[number];

const STREAM_READERS: Readonly<Record<Conversation, (events: readonly Json[]) => ReadAnswer>> = {
  'openai-chat': readChatStream,
  'openai-responses': readResponseStream,
  'anthropic-messages': readMessageStream,
};
const BODY_READERS: Readonly<Record<Conversation, (body: Json) => ReadAnswer>> = {
  'openai-chat': readChatBody,
  'openai-responses': readResponseBody,
  'anthropic-messages': readMessageBody,
};

/** @param data of each event, in order; `[DONE]` is left out */
export function readStream(dialect: Conversation, data: readonly string[]): ReadAnswer {
  return STREAM_READERS[dialect](data.filter((text) => text !== '[DONE]').map(parseRecorded));
}

export function readBody(dialect: Conversation, body: unknown): ReadAnswer {
  return BODY_READERS[dialect](obj(body));
}

/** Some recorded frames lack their last bracket. */
function parseRecorded(text: string): Json {
  for (const missing of ['', '}', '}}']) {
    try {
      return obj(JSON.parse(text + missing));
    } catch {
      continue;
    }
  }
  throw new Error(`no JSON: ${text.slice(0, 200)}`);
}

/** What a client of the dialect must read where the provider said `answer`, with the usage that was worked out by hand. */
export function asReadBy(
  client: Conversation,
  provider: Conversation,
  call: RecordedCall,
  answer: ReadAnswer,
): ReadAnswer {
  // Anthropic says a refusal in the text.
  const isTold = client === 'anthropic-messages';
  return {
    ...answer,
    ...(isTold ? { text: answer.text + answer.refusal, refusal: '' } : {}),
    calls: answer.calls.map((said) => callFor(client, said)),
    finish: client === provider ? answer.finish : finishFor(client, answer),
    usage: usageFor(client, handUsage(call.name)),
  };
}

/** Anthropic knows no tools that take text: there the text is the one argument of a function. */
function callFor(client: Conversation, call: ReadCall): ReadCall {
  if (client !== 'anthropic-messages' || call.kind === 'function') return call;
  return { ...call, kind: 'function', arguments: JSON.stringify({ input: call.arguments }) };
}

function finishFor(client: Conversation, { finish, refusal, calls }: ReadAnswer): ReadFinish {
  if (client === 'anthropic-messages') return finish === 'content_filter' ? 'refusal' : finish;
  // OpenAI has no word for a refusal without words but that the answer was withheld, nor for a pause.
  if (finish === 'refusal') return refusal === '' ? 'content_filter' : 'stop';
  if (client === 'openai-responses' && finish === 'stop' && calls.length > 0) return 'tool_calls';
  if (finish === 'pause') return calls.length > 0 ? 'tool_calls' : 'stop';
  return finish;
}

/** Anthropic counts thoughts as output. */
function usageFor(client: Conversation, usage: ReadUsage): ReadUsage {
  if (client !== 'anthropic-messages') return usage;
  return { ...usage, output: usage.output + usage.reasoning, reasoning: 0 };
}

function handUsage(name: string): ReadUsage {
  const row = RECORDED_CHARGES.find(([recorded]) => recorded === name);
  if (!row || row[1] === 'error') throw new Error(`nobody has worked out by hand what ${name} used`);
  const [input, cached, cacheWrite, output, reasoning] = row[1];
  return { input, cached, cacheWrite, output, reasoning };
}

/** Arguments as values: a whole Anthropic answer has no text of them. */
export function withParsedArguments(answer: ReadAnswer): object {
  const parsed = (call: ReadCall): object =>
    call.kind === 'custom' ? call : { ...call, arguments: JSON.parse(call.arguments) as unknown };
  return { ...answer, calls: answer.calls.map(parsed) };
}

/** The tools of the recordings, as each client declares them; the one that takes text is a function where there are no others. */
const NAMES = ['weather', 'webSearchTool', 'json', 'updateIssueList', 'rollDie', 'parallel'];
const QUESTIONS: Readonly<Record<Conversation, object>> = {
  'openai-chat': {
    messages: [{ role: 'user', content: 'Go on.' }],
    tools: [
      ...NAMES.map((name) => ({ type: 'function', function: { name } })),
      { type: 'custom', custom: { name: 'write_sql' } },
    ],
  },
  'openai-responses': {
    input: 'Go on.',
    tools: [
      ...NAMES.map((name) => ({ type: 'function', name, parameters: {}, strict: false })),
      { type: 'custom', name: 'write_sql' },
    ],
  },
  'anthropic-messages': {
    messages: [{ role: 'user', content: 'Go on.' }],
    max_tokens: 1_000,
    tools: [...NAMES, 'write_sql'].map((name) => ({ name, input_schema: { type: 'object' } })),
  },
};

/** What a client of the dialect asks whom the recorded answer is told. */
export function questionOf(client: Conversation, model: string, isStream: boolean): object {
  const wantsUsage = client === 'openai-chat' && isStream ? { stream_options: { include_usage: true } } : {};
  return { model, stream: isStream, ...wantsUsage, ...QUESTIONS[client] };
}
