import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import {
  generateText,
  jsonSchema,
  type LanguageModel,
  type ModelMessage,
  Output,
  streamText,
  tool,
  type ToolSet,
} from 'ai';
import {
  ANSWER_SCHEMA,
  type Client,
  type Dialect,
  type Question,
  type Reach,
  RESULT_OF_TOOL,
  type Told,
  WEATHER_DESCRIPTION,
  WEATHER_PARAMETERS,
  WEATHER_TOOL,
} from './asked';

const CALL_ERROR = 'AI_APICallError';
const ERRORS = { 400: CALL_ERROR, 401: CALL_ERROR, 402: CALL_ERROR, 429: CALL_ERROR } as const;

const FINISHES = { stop: 'stop', length: 'length', tool_calls: 'tool-calls' } as const;

export function vercelClients(reach: Reach): readonly Client[] {
  const { url, key, model, fetch } = reach;
  const openAi = createOpenAI({ baseURL: `${url}/v1`, apiKey: key, fetch });
  const claude = createAnthropic({ baseURL: `${url}/v1`, apiKey: key, fetch });
  const compatible = createOpenAICompatible({
    ...{ name: 'gateway', baseURL: `${url}/v1`, apiKey: key, fetch },
    ...{ includeUsage: true, supportsStructuredOutputs: true },
  });
  return [
    vercel('ai with @ai-sdk/openai responses', 'openai-responses', openAi.responses(model), 'kept'),
    vercel('ai with @ai-sdk/openai chat', 'openai-chat', openAi.chat(model), 'none'),
    vercel('ai with @ai-sdk/anthropic', 'anthropic-messages', claude(model), 'kept'),
    vercel('ai with @ai-sdk/openai-compatible', 'openai-chat', compatible(model), 'shown'),
  ];
}

function vercel(name: string, dialect: Dialect, model: LanguageModel, thoughts: Client['thoughts']): Client {
  return { name, dialect, thoughts, errors: ERRORS, finishes: FINISHES, ask: (question) => ask(model, question) };
}

/** Thinking, as each provider's own options say it; the others leave them alone. */
const THINKING = {
  openai: { forceReasoning: true, reasoningEffort: 'low', reasoningSummary: 'auto' },
  anthropic: { thinking: { type: 'enabled', budgetTokens: 1_024 } },
  gateway: { reasoningEffort: 'low' },
} as const;

/** The client's own types of a tool do not take what it makes where optional members are exact. */
const TOOLS = {
  [WEATHER_TOOL]: tool({ description: WEATHER_DESCRIPTION, inputSchema: jsonSchema(WEATHER_PARAMETERS) }),
} as unknown as ToolSet;

async function ask(model: LanguageModel, question: Question): Promise<Told> {
  const { maxTokens, signal, isStream, onText, thinks } = question;
  const base = { openai: { store: false } };
  const settings = {
    model,
    messages: messagesOf(question),
    maxRetries: 0,
    maxOutputTokens: maxTokens ?? 4_000,
    providerOptions: thinks === true ? { ...THINKING, openai: { ...base.openai, ...THINKING.openai } } : base,
    ...(question.mayCallTools === true ? { tools: TOOLS } : {}),
    ...(question.isStructured === true ? { output: Output.object({ schema: jsonSchema(ANSWER_SCHEMA) }) } : {}),
    ...(signal ? { abortSignal: signal } : {}),
  };
  if (!isStream) return told((await generateText(settings)).finalStep);
  let failure: unknown;
  const stream = streamText({ ...settings, onError: ({ error }) => void (failure ??= error) });
  for await (const part of stream.stream) {
    if (part.type === 'text-delta') onText?.();
    if (part.type === 'abort') failure ??= new Error('aborted');
  }
  if (failure !== undefined) throw failure as Error;
  return told(await stream.finalStep);
}

function messagesOf({ prompt, image, after }: Question): ModelMessage[] {
  const messages: ModelMessage[] = [
    {
      role: 'user',
      content: [{ type: 'text', text: prompt }, ...(image === undefined ? [] : [{ type: 'image' as const, image }])],
    },
  ];
  if (!after) return messages;
  const results = after.calls.map(({ id, name }) => ({
    type: 'tool-result' as const,
    toolCallId: id,
    toolName: name,
    output: { type: 'text' as const, value: RESULT_OF_TOOL },
  }));
  return [...messages, ...(after.kept as ModelMessage[]), { role: 'tool', content: results }];
}

interface Result {
  readonly text: string;
  readonly reasoningText: string | undefined;
  readonly toolCalls: readonly { toolCallId: string; toolName: string; input: unknown }[];
  readonly finishReason: string;
  readonly usage: { readonly inputTokens: number | undefined; readonly outputTokens: number | undefined };
  readonly response: { readonly messages: readonly ModelMessage[] };
}

function told({ text, reasoningText, toolCalls, finishReason, usage, response }: Result): Told {
  return {
    text,
    reasoning: reasoningText ?? '',
    refusal: '',
    calls: toolCalls.map(({ toolCallId, toolName, input }) => ({ id: toolCallId, name: toolName, input })),
    finish: finishReason,
    usage: { input: usage.inputTokens ?? NaN, output: usage.outputTokens ?? NaN },
    kept: response.messages,
  };
}
