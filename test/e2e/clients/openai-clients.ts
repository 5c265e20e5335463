import OpenAI from 'openai';
import {
  ANSWER_SCHEMA,
  CHAT_FINISHES,
  type Client,
  parsedInput,
  type Question,
  type Reach,
  RESPONSE_FINISHES,
  RESULT_OF_TOOL,
  type Told,
  WEATHER_DESCRIPTION,
  WEATHER_PARAMETERS,
  WEATHER_TOOL,
} from './asked';

const ERRORS = {
  400: 'BadRequestError',
  401: 'AuthenticationError',
  402: 'APIError',
  429: 'RateLimitError',
} as const;
const STRUCTURE = { name: 'answer', schema: ANSWER_SCHEMA, strict: true };

function openAi({ url, key, fetch }: Reach): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0, fetch });
}

/** What other providers than OpenAI add to a message: the client does not know it, and brings it back all the same. */
interface Thoughts {
  reasoning_content?: string;
  reasoning_details?: unknown[];
}

export function openAiChat(reach: Reach): Client {
  const client = openAi(reach);
  return {
    name: 'openai chat',
    dialect: 'openai-chat',
    finishes: CHAT_FINISHES,
    thoughts: 'kept',
    errors: ERRORS,
    ask: async (question) => {
      const body = { model: reach.model, ...chatBody(question) };
      const options = { signal: question.signal };
      const completion = question.isStream
        ? await streamedCompletion(client, body, question)
        : await client.chat.completions.create(body, options);
      return toldByCompletion(completion);
    },
  };
}

function chatBody(question: Question): Omit<OpenAI.ChatCompletionCreateParamsNonStreaming, 'model'> {
  const { prompt, image, after, maxTokens } = question;
  const content: OpenAI.ChatCompletionContentPart[] = [{ type: 'text', text: prompt }];
  if (image !== undefined) content.push({ type: 'image_url', image_url: { url: image } });
  const before = after?.kept as OpenAI.ChatCompletionMessage | undefined;
  const results = (after?.calls ?? []).map(({ id }) => ({
    role: 'tool' as const,
    tool_call_id: id,
    content: RESULT_OF_TOOL,
  }));
  return {
    messages: [{ role: 'user', content }, ...(before ? [before] : []), ...results],
    ...(question.mayCallTools === true
      ? {
          tools: [
            {
              type: 'function',
              function: { name: WEATHER_TOOL, description: WEATHER_DESCRIPTION, parameters: WEATHER_PARAMETERS },
            },
          ],
        }
      : {}),
    ...(question.isStructured === true
      ? { response_format: { type: 'json_schema' as const, json_schema: STRUCTURE } }
      : {}),
    ...(question.thinks === true ? { reasoning_effort: 'low' as const } : {}),
    ...(maxTokens === undefined ? {} : { max_completion_tokens: maxTokens }),
  };
}

/** The client's own accumulator, and beside it the fields that it does not know. */
async function streamedCompletion(
  client: OpenAI,
  body: OpenAI.ChatCompletionCreateParamsNonStreaming,
  { signal, onText }: Question,
): Promise<OpenAI.ChatCompletion> {
  const stream = client.chat.completions.stream(
    { ...body, stream: true, stream_options: { include_usage: true } },
    { signal },
  );
  const thoughts: Required<Thoughts> = { reasoning_content: '', reasoning_details: [] };
  stream.on('chunk', ({ choices: [choice] }) => {
    const delta = choice?.delta as (OpenAI.ChatCompletionChunk.Choice.Delta & Thoughts) | undefined;
    if (delta?.content) onText?.();
    thoughts.reasoning_content += delta?.reasoning_content ?? '';
    thoughts.reasoning_details.push(...(delta?.reasoning_details ?? []));
  });
  const completion = await stream.finalChatCompletion();
  const [choice] = completion.choices;
  if (choice) Object.assign(choice.message, thoughts);
  return completion;
}

function toldByCompletion({ choices: [choice], usage }: OpenAI.ChatCompletion): Told {
  if (!choice) throw new Error('no choice');
  const message = choice.message as OpenAI.ChatCompletionMessage & Thoughts;
  return {
    text: message.content ?? '',
    reasoning: message.reasoning_content ?? '',
    refusal: message.refusal ?? '',
    calls: (message.tool_calls ?? []).map((call) => {
      if (call.type !== 'function') throw new Error(`a call of type ${call.type}`);
      return { id: call.id, name: call.function.name, input: parsedInput(call.function.arguments) };
    }),
    finish: choice.finish_reason,
    usage: { input: usage?.prompt_tokens ?? NaN, output: usage?.completion_tokens ?? NaN },
    kept: message,
  };
}

export function openAiResponses(reach: Reach): Client {
  const client = openAi(reach);
  return {
    name: 'openai responses',
    dialect: 'openai-responses',
    finishes: RESPONSE_FINISHES,
    thoughts: 'kept',
    errors: ERRORS,
    ask: async (question) => {
      const { isStream, signal, onText } = question;
      const body = { model: reach.model, ...responseBody(question) };
      if (!isStream) return toldByResponse(await client.responses.create(body, { signal }));
      const stream = client.responses.stream({ ...body, stream: true }, { signal });
      stream.on('response.output_text.delta', () => onText?.());
      return toldByResponse(await stream.finalResponse());
    },
  };
}

function responseBody(
  question: Question,
): Omit<OpenAI.Responses.ResponseCreateParamsNonStreaming, 'model'> & { store: false } {
  const { prompt, image, after, maxTokens } = question;
  const content: OpenAI.Responses.ResponseInputMessageContentList = [{ type: 'input_text', text: prompt }];
  if (image !== undefined) content.push({ type: 'input_image', image_url: image, detail: 'auto' });
  const before = (after?.kept ?? []) as OpenAI.Responses.ResponseInputItem[];
  const results = (after?.calls ?? []).map(({ id }) => ({
    type: 'function_call_output' as const,
    call_id: id,
    output: RESULT_OF_TOOL,
  }));
  return {
    store: false,
    input: [{ role: 'user', content }, ...before, ...results],
    ...(question.mayCallTools === true
      ? {
          tools: [
            {
              type: 'function',
              name: WEATHER_TOOL,
              description: WEATHER_DESCRIPTION,
              parameters: WEATHER_PARAMETERS,
              strict: true,
            },
          ],
        }
      : {}),
    ...(question.isStructured === true ? { text: { format: { type: 'json_schema' as const, ...STRUCTURE } } } : {}),
    ...(question.thinks === true
      ? { reasoning: { effort: 'low' as const, summary: 'auto' as const }, include: ['reasoning.encrypted_content'] }
      : {}),
    ...(maxTokens === undefined ? {} : { max_output_tokens: maxTokens }),
  };
}

function toldByResponse({ output, usage, incomplete_details: cut, status }: OpenAI.Responses.Response): Told {
  const told = { text: '', reasoning: '', refusal: '', calls: [] as { id: string; name: string; input: unknown }[] };
  for (const item of output) {
    if (item.type === 'reasoning') {
      for (const { text } of [...item.summary, ...(item.content ?? [])]) told.reasoning += text;
    }
    if (item.type === 'function_call') {
      told.calls.push({ id: item.call_id, name: item.name, input: parsedInput(item.arguments) });
    }
    if (item.type !== 'message') continue;
    for (const part of item.content) {
      if (part.type === 'output_text') told.text += part.text;
      else told.refusal += part.refusal;
    }
  }
  return {
    ...told,
    finish: cut?.reason ?? status ?? 'none',
    usage: { input: usage?.input_tokens ?? NaN, output: usage?.output_tokens ?? NaN },
    kept: output,
  };
}
