import Anthropic from '@anthropic-ai/sdk';
import {
  ANSWER_SCHEMA,
  type Client,
  MESSAGE_FINISHES,
  type Question,
  type Reach,
  RESULT_OF_TOOL,
  type Told,
  WEATHER_DESCRIPTION,
  WEATHER_PARAMETERS,
  WEATHER_TOOL,
} from './asked';

export function anthropic({ url, key, model, fetch }: Reach): Client {
  const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0, fetch });
  return {
    name: 'anthropic',
    dialect: 'anthropic-messages',
    finishes: MESSAGE_FINISHES,
    thoughts: 'kept',
    errors: { 400: 'BadRequestError', 401: 'AuthenticationError', 402: 'PaymentRequiredError', 429: 'RateLimitError' },
    ask: async (question) => {
      const { isStream, signal, onText } = question;
      const body = { model, ...messageBody(question) };
      if (!isStream) return toldBy(await client.messages.create(body, { signal }));
      const stream = client.messages.stream(body, { signal });
      stream.on('text', () => onText?.());
      return toldBy(await stream.finalMessage());
    },
  };
}

function messageBody(question: Question): Omit<Anthropic.MessageCreateParamsNonStreaming, 'model'> {
  const { prompt, image, after, maxTokens } = question;
  const content: Anthropic.ContentBlockParam[] = [{ type: 'text', text: prompt }];
  const [, mediaType, data] = /^data:([^;]*);base64,(.*)$/s.exec(image ?? '') ?? [];
  if (mediaType !== undefined && data !== undefined) {
    content.push({ type: 'image', source: { type: 'base64', media_type: mediaType as 'image/png', data } });
  }
  const results = (after?.calls ?? []).map(({ id }) => ({
    type: 'tool_result' as const,
    tool_use_id: id,
    content: RESULT_OF_TOOL,
  }));
  return {
    max_tokens: maxTokens ?? 4_000,
    messages: [
      { role: 'user', content },
      ...(after
        ? [
            { role: 'assistant' as const, content: after.kept as Anthropic.ContentBlockParam[] },
            { role: 'user' as const, content: results },
          ]
        : []),
    ],
    ...(question.mayCallTools === true
      ? { tools: [{ name: WEATHER_TOOL, description: WEATHER_DESCRIPTION, input_schema: WEATHER_PARAMETERS }] }
      : {}),
    ...(question.isStructured === true
      ? { output_config: { format: { type: 'json_schema' as const, schema: ANSWER_SCHEMA } } }
      : {}),
    ...(question.thinks === true ? { thinking: { type: 'enabled' as const, budget_tokens: 1_024 } } : {}),
  };
}

function toldBy({ content, stop_reason: reason, usage }: Anthropic.Message): Told {
  const told = { text: '', reasoning: '', calls: [] as { id: string; name: string; input: unknown }[] };
  for (const block of content) {
    if (block.type === 'text') told.text += block.text;
    if (block.type === 'thinking') told.reasoning += block.thinking;
    if (block.type === 'tool_use') told.calls.push({ id: block.id, name: block.name, input: block.input });
  }
  return {
    ...told,
    refusal: '',
    finish: reason ?? 'none',
    usage: {
      input: usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0),
      output: usage.output_tokens,
    },
    kept: content,
  };
}
