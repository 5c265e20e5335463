import { NO_TOKENS } from '../../../catalogue/price';
import { responsesPromptText } from './response-text';
import { readWholeResponse } from './whole-response';

const read = (response: object): ReturnType<typeof readWholeResponse> =>
  readWholeResponse(Buffer.from(JSON.stringify(response)));

describe('readWholeResponse', () => {
  const usage = { input_tokens: 20, output_tokens: 8, total_tokens: 28 };
  const output = [
    { type: 'reasoning', summary: [{ type: 'summary_text', text: 'I see' }], content: [{ text: 'raw thought' }] },
    {
      type: 'message',
      content: [
        { type: 'output_text', text: 'Hello' },
        { type: 'refusal', refusal: 'No' },
      ],
    },
    { type: 'function_call', name: 'weather', arguments: '{"city":1}' },
    { type: 'custom_tool_call', name: 'sql', input: 'SELECT 1' },
    { type: 'web_search_call', status: 'completed' },
  ];

  it('knows usage, end and what the model wrote', () => {
    const answer = read({ status: 'completed', output, usage, error: null });
    expect(answer).toMatchObject({ usage: { ...NO_TOKENS, inputUncached: 20, output: 8 }, finishReason: 'completed' });
    expect(answer?.chunks).toBe(5);
    expect(answer?.text()).toEqual({
      output: ['Hello', 'No', 'weather', '{"city":1}', 'sql', 'SELECT 1'],
      reasoning: ['raw thought', 'I see'],
    });
  });

  it('says what ended a response that is not whole', () => {
    const ended = { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }, output: [], usage };
    expect(read(ended)?.finishReason).toBe('max_output_tokens');
  });

  it.each([
    ['an error', { error: { code: 'x' } }, { code: 'x' }],
    ['a failure', { status: 'failed', error: { code: 'x' }, output }, { code: 'x' }],
    ['a failure without words', { status: 'failed', output: [] }, { status: 'failed', output: [] }],
  ])('sees %s, and bills no text of it', (_, response, errorEvent) => {
    const answer = read(response);
    expect(answer).toMatchObject({ errorEvent, chunks: 0 });
    expect(answer?.text()).toEqual({ output: [], reasoning: [] });
  });

  it('takes what is no JSON object for no answer', () => {
    expect(readWholeResponse(Buffer.from('<html>'))).toBeUndefined();
    expect(readWholeResponse(Buffer.from('[]'))).toBeUndefined();
  });
});

describe('responsesPromptText', () => {
  it('holds every text that is sent, and leaves media out', () => {
    const { texts, frameTokens } = responsesPromptText({
      instructions: 'Be brief',
      input: [
        { role: 'user', content: 'Hi' },
        {
          role: 'user',
          content: [
            { type: 'input_text', text: 'Look' },
            { type: 'input_image', image_url: 'data:x' },
          ],
        },
        { type: 'function_call', name: 'f', arguments: '{"a":1}' },
        { type: 'function_call_output', output: 'sunny' },
        { type: 'custom_tool_call_output', output: [{ type: 'input_text', text: 'rows' }] },
        { type: 'reasoning', summary: [{ type: 'summary_text', text: 'thought' }], encrypted_content: 'gAAAA' },
      ],
      tools: [{ type: 'function', name: 'f' }],
      text: { format: { type: 'json_object' } },
    });
    expect(texts).toEqual([
      ...['Be brief', 'user', 'Hi', 'user', 'Look', 'f', '{"a":1}', 'sunny', 'rows', 'thought'],
      ...['[{"type":"function","name":"f"}]', '{"type":"json_object"}'],
    ]);
    expect(frameTokens).toBe(24);
  });

  it('reads an input that is one text', () => {
    expect(responsesPromptText({ input: 'Hello' })).toEqual({ texts: ['Hello'], frameTokens: 6 });
  });
});
