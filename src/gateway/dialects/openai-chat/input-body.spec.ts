import { openAiSchemas } from '../../../../test/support/openai-schemas';
import { isRefusal } from '../invalid-request';
import { parseChatRequest } from './chat-request';

const schemas = openAiSchemas();

/** What a body of the other API means here; it must be as OpenAI describes a chat request. */
function meant(body: object): Readonly<Record<string, unknown>> {
  const request = parseChatRequest(Buffer.from(JSON.stringify({ model: 'm', ...body })));
  if (isRefusal(request)) throw new Error(JSON.stringify(request));
  expect(schemas?.problemsOf('CreateChatCompletionRequest', request.body) ?? []).toEqual([]);
  return request.body;
}

describe('a chat body with input', () => {
  it('may have tools that take text, their calls and what these came to', () => {
    const body = meant({
      tools: [
        { type: 'function', name: 'f', parameters: { type: 'object' } },
        { type: 'custom', name: 'patch', format: { type: 'grammar', syntax: 'lark', definition: 'start: x' } },
        { type: 'custom', name: 'say', format: { type: 'text' } },
      ],
      tool_choice: { type: 'custom', name: 'patch' },
      input: [
        { role: 'user', content: 'Do' },
        { type: 'custom_tool_call', call_id: 'c', name: 'patch', input: '*** x' },
        { type: 'custom_tool_call_output', call_id: 'c', output: 'done' },
      ],
    });
    const grammar = { syntax: 'lark', definition: 'start: x' };
    expect(body).toMatchObject({
      tools: [
        { type: 'function', function: { name: 'f', parameters: { type: 'object' } } },
        { type: 'custom', custom: { name: 'patch', format: { type: 'grammar', grammar } } },
        { type: 'custom', custom: { name: 'say', format: { type: 'text' } } },
      ],
      tool_choice: { type: 'custom', custom: { name: 'patch' } },
      messages: [
        { role: 'user', content: 'Do' },
        { role: 'assistant', tool_calls: [{ id: 'c', type: 'custom', custom: { name: 'patch', input: '*** x' } }] },
        { role: 'tool', tool_call_id: 'c', content: 'done' },
      ],
    });
  });

  it('may have files', () => {
    const file = { filename: 'a.pdf', file_data: 'data:application/pdf;base64,aGk=' };
    const body = meant({ input: [{ role: 'user', content: [{ type: 'input_file', ...file }] }] });
    expect(body.messages).toEqual([{ role: 'user', content: [{ type: 'file', file }] }]);
  });

  it('loses nothing of what a tool came to', () => {
    const result = (...output: object[]): unknown => {
      const input = [
        { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c', output },
      ];
      const request = parseChatRequest(Buffer.from(JSON.stringify({ model: 'm', input })));
      return request;
    };
    const text = { type: 'input_text', text: 'a' };
    expect(result(text, text)).toMatchObject({ body: { messages: [{}, { role: 'tool', content: 'aa' }] }, images: 0 });
    expect(result(text, { type: 'input_image', image_url: 'https://a.example/b.png' })).toMatchObject({
      body: {
        messages: [
          {},
          {
            role: 'tool',
            content: [
              { type: 'text', text: 'a' },
              { type: 'image_url', image_url: { url: 'https://a.example/b.png' } },
            ],
          },
        ],
      },
      images: 1,
    });
  });
});
