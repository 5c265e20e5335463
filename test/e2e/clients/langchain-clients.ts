import { ChatAnthropic } from '@langchain/anthropic';
import {
  type AIMessage,
  type AIMessageChunk,
  type BaseMessage,
  HumanMessage,
  ToolMessage,
} from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import {
  ANSWER_SCHEMA,
  CHAT_FINISHES,
  type Client,
  MESSAGE_FINISHES,
  type Question,
  type Reach,
  RESPONSE_FINISHES,
  RESULT_OF_TOOL,
  type Told,
  WEATHER_DESCRIPTION,
  WEATHER_PARAMETERS,
  WEATHER_TOOL,
} from './asked';

const TOOL = tool(() => RESULT_OF_TOOL, {
  name: WEATHER_TOOL,
  description: WEATHER_DESCRIPTION,
  schema: WEATHER_PARAMETERS,
});
const OPENAI_ERRORS = { 400: 'BadRequestError', 401: 'AuthenticationError', 402: 'APIError', 429: 'RateLimitError' };

export function langChainClients(reach: Reach): readonly Client[] {
  return [langChainOpenAi(reach, false), langChainOpenAi(reach, true), langChainAnthropic(reach)];
}

function langChainOpenAi({ url, key, model, fetch }: Reach, useResponsesApi: boolean): Client {
  const base = { model, apiKey: key, maxRetries: 0, configuration: { baseURL: `${url}/v1`, fetch }, useResponsesApi };
  return {
    name: `LangChain ChatOpenAI ${useResponsesApi ? 'responses' : 'chat'}`,
    dialect: useResponsesApi ? 'openai-responses' : 'openai-chat',
    thoughts: useResponsesApi ? 'kept' : 'none',
    dropsRefusals: !useResponsesApi,
    errors: OPENAI_ERRORS,
    finishes: useResponsesApi ? RESPONSE_FINISHES : CHAT_FINISHES,
    ask: (question) => {
      const { maxTokens, thinks, isStructured, mayCallTools } = question;
      const chat = new ChatOpenAI({
        ...base,
        ...(maxTokens === undefined ? {} : { maxTokens }),
        ...(useResponsesApi ? { zdrEnabled: true } : {}),
        ...(thinks === true ? { reasoning: { effort: 'low', ...(useResponsesApi ? { summary: 'auto' } : {}) } } : {}),
      });
      const json_schema = { name: 'answer', schema: ANSWER_SCHEMA, strict: true };
      const options = {
        ...(question.signal ? { signal: question.signal } : {}),
        ...(mayCallTools === true ? { tools: [TOOL] } : {}),
        ...(isStructured === true ? { response_format: { type: 'json_schema' as const, json_schema } } : {}),
      };
      return ask(question, {
        invoke: (messages) => chat.invoke(messages, options),
        stream: (messages) => chat.stream(messages, options),
      });
    },
  };
}

function langChainAnthropic({ url, key, model, fetch }: Reach): Client {
  return {
    name: 'LangChain ChatAnthropic',
    dialect: 'anthropic-messages',
    thoughts: 'kept',
    errors: OPENAI_ERRORS,
    finishes: MESSAGE_FINISHES,
    ask: (question) => {
      const { maxTokens, thinks, isStructured, mayCallTools } = question;
      const chat = new ChatAnthropic({
        ...{ model, apiKey: key, maxRetries: 0, anthropicApiUrl: url, clientOptions: { fetch } },
        maxTokens: maxTokens ?? 4_000,
        ...(thinks === true ? { thinking: { type: 'enabled', budget_tokens: 1_024 } } : {}),
      });
      const options = {
        ...(question.signal ? { signal: question.signal } : {}),
        ...(mayCallTools === true ? { tools: [TOOL] } : {}),
        ...(isStructured === true
          ? { outputConfig: { format: { type: 'json_schema' as const, schema: ANSWER_SCHEMA } } }
          : {}),
      };
      return ask(question, {
        invoke: (messages) => chat.invoke(messages, options),
        stream: (messages) => chat.stream(messages, options),
      });
    },
  };
}

interface Calls {
  invoke(messages: BaseMessage[]): Promise<AIMessageChunk>;
  stream(messages: BaseMessage[]): Promise<AsyncIterable<AIMessageChunk>>;
}

async function ask(question: Question, calls: Calls): Promise<Told> {
  const messages = messagesOf(question);
  if (!question.isStream) return told(await calls.invoke(messages));
  let whole: AIMessageChunk | undefined;
  for await (const chunk of await calls.stream(messages)) {
    if (chunk.text !== '') question.onText?.();
    whole = whole ? whole.concat(chunk) : chunk;
  }
  if (!whole) throw new Error('an empty stream');
  return told(whole);
}

function messagesOf({ prompt, image, after }: Question): BaseMessage[] {
  const parts = [
    { type: 'text', text: prompt },
    ...(image === undefined ? [] : [{ type: 'image_url', image_url: { url: image } }]),
  ];
  const asked = new HumanMessage({ content: parts });
  if (!after) return [asked];
  const results = after.calls.map(({ id }) => new ToolMessage({ content: RESULT_OF_TOOL, tool_call_id: id }));
  return [asked, after.kept as AIMessage, ...results];
}

function told(message: AIMessageChunk): Told {
  const { tool_calls: calls = [], response_metadata: meta, contentBlocks } = message;
  const usage = message.usage_metadata as { input_tokens: number; output_tokens: number } | undefined;
  const reasoning = contentBlocks.map((block) => (block.type === 'reasoning' ? block.reasoning : '')).join('');
  const cut = (meta.incomplete_details as { reason?: string } | null | undefined)?.reason;
  const finish = cut ?? meta.finish_reason ?? meta.stop_reason ?? meta.status ?? message.additional_kwargs.stop_reason;
  const { refusal } = message.additional_kwargs;
  return {
    text: message.text,
    reasoning,
    refusal: typeof refusal === 'string' ? refusal : '',
    calls: calls.map(({ id, name, args }) => ({ id: id ?? '', name, input: args })),
    finish: String(finish),
    usage: { input: usage?.input_tokens ?? NaN, output: usage?.output_tokens ?? NaN },
    kept: message,
  };
}
