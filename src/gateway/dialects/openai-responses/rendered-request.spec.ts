import * as fc from 'fast-check';

import { openAiSchemas } from '../../../../test/support/openai-schemas';
import type { JsonObject } from '../../../kernel/json-object';
import { isRefusal } from '../invalid-request';
import type { NeutralRequest } from '../neutral/neutral-request';
import { renderResponsesRequest } from './rendered-request';
import { parseResponsesRequest } from './responses-request';
import { responsesToNeutral } from './to-neutral';

const SEED = 20_261_121;
const schemas = openAiSchemas();
const TARGET = { upstreamModel: 'gpt-5', maxOutputTokens: 1000 };
const path = 'messages[0]';
const ASKED: NeutralRequest = {
  model: 'm',
  stream: false,
  instructions: [],
  messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }],
  tools: [],
  stopSequences: [],
  openAiOptions: {},
  names: {},
};

function render(asked: Partial<NeutralRequest>): JsonObject {
  const body = renderResponsesRequest({ ...ASKED, ...asked }, TARGET);
  if (isRefusal(body)) return { refused: body.param };
  const parsed = JSON.parse(body.toString()) as JsonObject;
  expectValid(parsed);
  return parsed;
}

const ITEM_SCHEMAS: Readonly<Record<string, string>> = {
  message: 'EasyInputMessage',
  reasoning: 'ReasoningItem',
  function_call: 'FunctionToolCall',
  custom_tool_call: 'CustomToolCall',
  function_call_output: 'FunctionCallOutputItemParam',
  custom_tool_call_output: 'CustomToolCallOutput',
};

/** Items one by one: of the description's kinds of messages one item matches several, where only one is allowed. */
function expectValid({ input, ...options }: JsonObject): void {
  expect(schemas?.problemsOf('CreateResponse', { ...options, input: 'Hi' }) ?? []).toEqual([]);
  for (const item of input as readonly JsonObject[]) {
    const isRefused = JSON.stringify(item.content ?? '').includes('"refusal"');
    // What nobody stored needs no id, and has none where its provider told none.
    const known = item.type === 'reasoning' ? { id: 'rs_1', ...item } : item;
    if (!isRefused) expect(schemas?.problemsOf(ITEM_SCHEMAS[String(item.type)] ?? '', known) ?? []).toEqual([]);
  }
}

describe('a request that is sent as one for a response', () => {
  it('is stored by nobody, and says no more than was asked', () => {
    const input = [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hi' }] }];
    expect(render({})).toEqual({ model: 'gpt-5', input, store: false });
    expect(render({ stream: true, openAiOptions: { store: true } })).toEqual({
      ...{ model: 'gpt-5', input, store: false, stream: true },
    });
  });

  it('says a whole conversation in items', () => {
    const { instructions, input } = render({
      instructions: [
        { type: 'text', text: 'Be brief' },
        { type: 'text', text: 'Be kind' },
      ],
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Look' },
            { type: 'image', source: { type: 'base64', mediaType: 'image/png', data: 'AAAA' }, path },
            { type: 'image', source: { type: 'url', url: 'https://a.example' }, detail: 'low', path },
            { type: 'document', source: { type: 'base64', mediaType: 'application/pdf', data: 'AAAA' }, path },
            { type: 'document', source: { type: 'text', text: 'Hello' }, filename: 'a.txt', path },
          ],
        },
        {
          role: 'assistant',
          content: [
            { type: 'reasoning', text: 'Hm', signature: 'gA', path },
            { type: 'reasoning', text: 'unsigned', path },
            { type: 'reasoning', text: '', signature: 'gB', isRedacted: true, path },
            { type: 'text', text: 'Well' },
            { type: 'refusal', text: 'No' },
            { type: 'tool_call', kind: 'function', callId: 'a', name: 'f', arguments: '{}', path },
            { type: 'tool_call', kind: 'custom', callId: 'b', name: 'g', arguments: 'x', path },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', callId: 'a', content: [{ type: 'text', text: 'ok' }], isError: true, path },
            { type: 'tool_result', callId: 'b', content: [], path },
            { type: 'text', text: 'Go on' },
          ],
        },
        { role: 'system', content: [{ type: 'text', text: 'Hurry' }], path },
      ],
    });
    expect(instructions).toBe('Be brief\n\nBe kind');
    expect(input).toEqual([
      {
        type: 'message',
        role: 'user',
        content: [
          { type: 'input_text', text: 'Look' },
          { type: 'input_image', detail: 'auto', image_url: 'data:image/png;base64,AAAA' },
          { type: 'input_image', detail: 'low', image_url: 'https://a.example' },
          { type: 'input_file', filename: 'document.pdf', file_data: 'data:application/pdf;base64,AAAA' },
          { type: 'input_file', filename: 'a.txt', file_data: 'data:text/plain;base64,SGVsbG8=' },
        ],
      },
      { type: 'reasoning', summary: [{ type: 'summary_text', text: 'Hm' }], encrypted_content: 'gA' },
      { type: 'reasoning', summary: [], encrypted_content: 'gB' },
      { type: 'message', role: 'assistant', content: 'Well' },
      { type: 'message', role: 'assistant', content: [{ type: 'refusal', refusal: 'No' }] },
      { type: 'function_call', call_id: 'a', name: 'f', arguments: '{}' },
      { type: 'custom_tool_call', call_id: 'b', name: 'g', input: 'x' },
      { type: 'function_call_output', call_id: 'a', output: 'ok' },
      { type: 'custom_tool_call_output', call_id: 'b', output: '' },
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Go on' }] },
      { type: 'message', role: 'system', content: [{ type: 'input_text', text: 'Hurry' }] },
    ]);
  });

  it('is strict about arguments only where that was asked, which this API is by itself', () => {
    const tools = [
      { type: 'function', name: 'f', path } as const,
      { type: 'function', name: 'g', strict: true, parameters: { type: 'object', required: [] }, path } as const,
      { type: 'custom', name: 'h', description: 'H', format: { type: 'text' }, path } as const,
    ];
    const sent = render({ tools, toolChoice: { type: 'tool', name: 'h' }, parallelToolCalls: false });
    expect(sent).toMatchObject({
      tools: [
        { type: 'function', name: 'f', parameters: { type: 'object', properties: {} }, strict: false },
        { type: 'function', name: 'g', parameters: { type: 'object', required: [] }, strict: true },
        { type: 'custom', name: 'h', description: 'H', format: { type: 'text' } },
      ],
      tool_choice: { type: 'custom', name: 'h' },
      parallel_tool_calls: false,
    });
    expect(render({ tools, toolChoice: { type: 'tool', name: 'f' } }).tool_choice).toEqual({
      type: 'function',
      name: 'f',
    });
    expect(render({ tools, toolChoice: { type: 'required' } }).tool_choice).toBe('required');
  });

  it.each<[NonNullable<NeutralRequest['reasoning']>, JsonObject | undefined]>([
    [{ effort: 'high' }, { effort: 'high' }],
    [
      { effort: 'low', summary: 'detailed' },
      { effort: 'low', summary: 'detailed' },
    ],
    [
      { budgetTokens: 8_000, isEnabled: true },
      { effort: 'medium', summary: 'auto' },
    ],
    [{ isAdaptive: true, isEnabled: true }, { summary: 'auto' }],
    [{ isEnabled: false }, undefined],
    [{ effort: 'none' }, { effort: 'none' }],
  ])('thinks as it was asked to: %j', (reasoning, expected) => {
    const sent = render({ reasoning });
    expect(sent.reasoning).toEqual(expected);
    expect(sent.include).toEqual(expected && ['reasoning.encrypted_content']);
  });

  it('says how the answer is to be', () => {
    const schema = { type: 'object' };
    expect(render({ outputFormat: { type: 'json_schema', schema, strict: true }, verbosity: 'low' }).text).toEqual({
      format: { type: 'json_schema', name: 'response', schema, strict: true },
      verbosity: 'low',
    });
    const options = { maxOutputTokens: 99, temperature: 0.2, topP: 0.5, serviceTier: 'flex', endUser: 'ann' };
    expect(render(options)).toMatchObject({
      ...{ max_output_tokens: 99, temperature: 0.2, top_p: 0.5, service_tier: 'flex', user: 'ann' },
    });
    expect(render({ endUser: 'a'.repeat(65) }).user).toMatch(/^[0-9a-f]{64}$/);
    const shared = {
      metadata: { a: 'b' },
      prompt_cache_key: 'k',
      n: 1,
      logprobs: false,
      presence_penalty: 0,
      logit_bias: {},
    };
    const sent = render({ openAiOptions: shared });
    expect(sent).toMatchObject({ metadata: { a: 'b' }, prompt_cache_key: 'k' });
    expect(Object.keys(sent).sort()).toEqual(['input', 'metadata', 'model', 'prompt_cache_key', 'store']);
  });

  it.each<[string, Partial<NeutralRequest>, string]>([
    ['top_k', { topK: 3, names: { topK: 'top_k' } }, 'top_k'],
    ['stop sequences', { stopSequences: ['x'], names: { stopSequences: 'stop' } }, 'stop'],
    ['a seed', { openAiOptions: { seed: 7 } }, 'seed'],
    ['logprobs', { openAiOptions: { logprobs: true } }, 'logprobs'],
    [
      'a recording',
      {
        messages: [
          { role: 'user', content: [{ type: 'audio', data: 'AA', format: 'wav', path: 'messages[0].content[0]' }] },
        ],
      },
      'messages[0].content[0]',
    ],
    ['names of authors', { messages: [{ role: 'user', name: 'ann', content: [] }] }, 'messages'],
  ])('refuses %s', (_, asked, field) => {
    expect(render(asked)).toEqual({ refused: field });
  });
});

const text = fc.string({ minLength: 1, maxLength: 12 });
const textPart = text.map((value) => ({ type: 'input_text', text: value }));
const imagePart = fc.constantFrom('data:image/png;base64,AAAA', 'https://a.example/a.png').map((image_url) => ({
  ...{ type: 'input_image', image_url, detail: 'auto' },
}));
const callIds = fc.constantFrom('a', 'b', 'c');
const items = fc.oneof(
  fc.record({
    type: fc.constant('message'),
    role: fc.constant('user'),
    content: fc.array(fc.oneof(textPart, imagePart), { minLength: 1, maxLength: 3 }),
  }),
  text.map((content) => ({ type: 'message', role: 'assistant', content })),
  fc.record({
    type: fc.constant('function_call'),
    call_id: callIds,
    name: text,
    arguments: fc.constantFrom('{}', '{"a":1}'),
  }),
  fc.record({ type: fc.constant('custom_tool_call'), call_id: fc.constant('custom'), name: text, input: text }),
  fc.record({ type: fc.constant('function_call_output'), call_id: callIds, output: text }),
  fc.record({
    type: fc.constant('reasoning'),
    summary: fc.array(
      text.map((value) => ({ type: 'summary_text', text: value })),
      { maxLength: 1 },
    ),
    encrypted_content: fc.base64String({ minLength: 4 }),
  }),
);

describe('a conversation in no dialect and back', () => {
  it('is the same', () => {
    fc.assert(
      fc.property(fc.array(items, { minLength: 1, maxLength: 8 }), (input) => {
        const request = parseResponsesRequest(Buffer.from(JSON.stringify({ model: 'm', input })));
        if (isRefusal(request)) throw new Error(JSON.stringify(request));
        const neutral = responsesToNeutral(request);
        if (isRefusal(neutral)) throw new Error(JSON.stringify(neutral));
        const sent = renderResponsesRequest(neutral, TARGET);
        if (isRefusal(sent)) throw new Error(JSON.stringify(sent));
        const body = JSON.parse(sent.toString()) as JsonObject;
        expect(body.input).toEqual(input);
        expectValid(body);
      }),
      { seed: SEED, numRuns: 200 },
    );
  });
});
