import * as fc from 'fast-check';

import { openAiSchemas } from '../../../../test/support/openai-schemas';
import type { JsonObject } from '../../../kernel/json-object';
import { isRefusal } from '../invalid-request';
import type { NeutralMessage, NeutralRequest } from '../neutral/neutral-request';
import { renderChatRequest } from './chat-from-neutral';
import { parseChatRequest } from './chat-request';
import { chatToNeutral } from './chat-to-neutral';

const schemas = openAiSchemas();
const HELLO: NeutralMessage = { role: 'user', content: [{ type: 'text', text: 'Hello' }] };

function request(more: Partial<NeutralRequest> = {}): NeutralRequest {
  return {
    model: 'ours',
    stream: false,
    instructions: [],
    messages: [HELLO],
    tools: [],
    stopSequences: [],
    openAiOptions: {},
    names: {},
    ...more,
  };
}

/** As it is sent; it must be as OpenAI describes it. */
function sent(more: Partial<NeutralRequest> = {}, upstreamModel = 'theirs'): JsonObject {
  const body = renderChatRequest(request(more), { upstreamModel, maxOutputTokens: 100 });
  if (isRefusal(body)) throw new Error(JSON.stringify(body));
  const parsed = JSON.parse(body.toString()) as JsonObject;
  expect(schemas?.problemsOf('CreateChatCompletionRequest', parsed) ?? []).toEqual([]);
  return parsed;
}

const sentMessages = (messages: readonly NeutralMessage[], upstreamModel?: string): unknown =>
  sent({ messages }, upstreamModel).messages;

function refusedField(more: Partial<NeutralRequest>): string | undefined {
  const body = renderChatRequest(request(more), { upstreamModel: 'theirs', maxOutputTokens: 100 });
  if (!isRefusal(body)) throw new Error('was accepted');
  return body.param;
}

const call = (callId: string, more: object = {}): object => ({
  type: 'tool_call',
  path: 'p',
  kind: 'function',
  callId,
  name: 'f',
  arguments: '{}',
  ...more,
});
const result = (callId: string, text: string, more: object = {}): object => ({
  type: 'tool_result',
  path: 'p',
  callId,
  content: [{ type: 'text', text }],
  ...more,
});
const assistant = (...content: object[]): NeutralMessage => ({ role: 'assistant', content }) as NeutralMessage;
const user = (...content: object[]): NeutralMessage => ({ role: 'user', content }) as NeutralMessage;
const image = { type: 'image', path: 'p', source: { type: 'base64', mediaType: 'image/png', data: 'aGk=' } };
const imageSent = { type: 'image_url', image_url: { url: 'data:image/png;base64,aGk=' } };

describe('renderChatRequest', () => {
  it('says the least that was asked', () => {
    expect(sent()).toEqual({ model: 'theirs', messages: [{ role: 'user', content: 'Hello' }] });
  });

  it('says instructions as one message, and later ones where they stand', () => {
    const instructions = [
      { type: 'text', text: 'Be brief.' },
      { type: 'text', text: 'Be kind.' },
    ] as const;
    const later: NeutralMessage = { role: 'system', path: 'p', content: [{ type: 'text', text: 'Be quick.' }] };
    expect(sent({ instructions, messages: [HELLO, later] }).messages).toEqual([
      { role: 'system', content: 'Be brief.\n\nBe kind.' },
      { role: 'user', content: 'Hello' },
      { role: 'system', content: 'Be quick.' },
    ]);
  });

  it('says text as a string, and text among other things as parts', () => {
    const text = (said: string): object => ({ type: 'text', text: said });
    expect(sentMessages([user(text('a'), text('b')), user(text('c'), text(''), image)])).toEqual([
      { role: 'user', content: 'a\n\nb' },
      { role: 'user', content: [text('c'), imageSent] },
    ]);
  });

  it('says files, sound and pictures', () => {
    const document = (source: object, filename?: string): object => ({
      type: 'document',
      path: 'p',
      source,
      ...(filename === undefined ? {} : { filename }),
    });
    const base64 = (mediaType: string): object => ({ type: 'base64', mediaType, data: 'aGk=' });
    const parts = [
      { type: 'image', path: 'p', source: { type: 'url', url: 'https://a.example/b.png' }, detail: 'low' },
      { type: 'audio', path: 'p', data: 'aGk=', format: 'wav' },
      document(base64('application/pdf')),
      document(base64('text/plain'), 'a.txt'),
      document({ type: 'text', text: 'hi' }),
      document({ type: 'file', fileId: 'file-1' }),
    ];
    expect(sentMessages([user(...parts)])).toEqual([
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url: 'https://a.example/b.png', detail: 'low' } },
          { type: 'input_audio', input_audio: { data: 'aGk=', format: 'wav' } },
          { type: 'file', file: { filename: 'document.pdf', file_data: 'data:application/pdf;base64,aGk=' } },
          { type: 'text', text: 'a.txt:\nhi' },
          { type: 'text', text: 'hi' },
          { type: 'file', file: { file_id: 'file-1' } },
        ],
      },
    ]);
  });

  it('says results right after the calls, whatever the order they came in', () => {
    const turn = [
      HELLO,
      assistant({ type: 'text', text: 'Wait' }),
      assistant(call('a')),
      assistant(call('b')),
      user(result('a', 'one')),
      user({ type: 'text', text: 'and?' }, result('b', 'no such file', { isError: true })),
    ];
    const called = (id: string): object => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } });
    expect(sentMessages(turn)).toEqual([
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: 'Wait', tool_calls: [called('a'), called('b')] },
      { role: 'tool', tool_call_id: 'a', content: 'one' },
      { role: 'tool', tool_call_id: 'b', content: 'Error: no such file' },
      { role: 'user', content: 'and?' },
    ]);
  });

  it('shows the pictures of results after all results, by the user', () => {
    const turn = [
      HELLO,
      assistant(call('a'), call('b')),
      user(result('a', '', { content: [image] }), result('b', 'two'), { type: 'text', text: 'see?' }),
    ];
    expect(sentMessages(turn)).toMatchObject([
      { role: 'user' },
      { role: 'assistant', content: null },
      { role: 'tool', tool_call_id: 'a', content: '(shown in the next message)' },
      { role: 'tool', tool_call_id: 'b', content: 'two' },
      {
        role: 'user',
        content: [{ type: 'text', text: 'From the result of a:' }, imageSent, { type: 'text', text: 'see?' }],
      },
    ]);
  });

  it('says thoughts and what proves them, but not to OpenAI itself, which knows none', () => {
    const turn = [
      HELLO,
      assistant(
        { type: 'reasoning', path: 'p', text: 'hm', signature: 's' },
        { type: 'reasoning', path: 'p', text: '', signature: 'dark', isRedacted: true, id: 'rs_1' },
        { type: 'text', text: 'a' },
      ),
    ];
    expect(sentMessages(turn, 'vendor/claude')).toContainEqual({
      role: 'assistant',
      content: 'a',
      reasoning_content: 'hm',
      reasoning_details: [
        { type: 'reasoning.text', text: 'hm', signature: 's', index: 0 },
        { type: 'reasoning.encrypted', data: 'dark', id: 'rs_1', index: 1 },
      ],
    });
    for (const model of ['gpt-5', 'o3-mini', 'chatgpt-4o-latest']) {
      expect(sentMessages(turn, model)).toContainEqual({ role: 'assistant', content: 'a' });
    }
    expect(sentMessages([HELLO, assistant({ type: 'refusal', text: 'No.' })])).toContainEqual({
      role: 'assistant',
      content: null,
      refusal: 'No.',
    });
  });

  it('says tools that take text as functions', () => {
    const tools = [
      { type: 'function', path: 'tools[0]', name: 'f', description: 'd', parameters: { type: 'object' }, strict: true },
      { type: 'custom', path: 'tools[1]', name: 'sql', cacheControl: { type: 'ephemeral' } },
    ] as const;
    const body = sent({
      tools,
      toolChoice: { type: 'tool', name: 'sql' },
      parallelToolCalls: false,
      messages: [HELLO, assistant(call('a', { kind: 'custom', name: 'sql', arguments: 'SELECT "1"' }))],
    });
    const input = { type: 'object', properties: { input: { type: 'string' } } };
    expect(body).toMatchObject({
      tools: [
        { type: 'function', function: { name: 'f', description: 'd', parameters: { type: 'object' }, strict: true } },
        { type: 'function', function: { name: 'sql', parameters: input } },
      ],
      tool_choice: { type: 'function', function: { name: 'sql' } },
      parallel_tool_calls: false,
      messages: [{}, { tool_calls: [{ function: { name: 'sql', arguments: '{"input":"SELECT \\"1\\""}' } }] }],
    });
    expect(sent({ tools, parallelToolCalls: true })).not.toHaveProperty('parallel_tool_calls');
    const none = sent({ toolChoice: { type: 'auto' }, parallelToolCalls: false });
    expect(none).not.toHaveProperty('tool_choice');
    expect(none).not.toHaveProperty('parallel_tool_calls');
  });

  it('says everything else that chat has', () => {
    const body = sent({
      stream: true,
      maxOutputTokens: 50,
      temperature: 0.5,
      topP: 0.9,
      stopSequences: ['END'],
      reasoning: { effort: 'low', summary: 'auto' },
      outputFormat: { type: 'json_schema', schema: { type: 'object' }, strict: true },
      verbosity: 'low',
      endUser: 'ann',
      serviceTier: 'flex',
      openAiOptions: { metadata: { a: 'b' }, store: false, prompt_cache_key: 'k', safety_identifier: 'x' },
    });
    expect(body).toMatchObject({
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 50,
      temperature: 0.5,
      top_p: 0.9,
      stop: ['END'],
      reasoning_effort: 'low',
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'answer', schema: { type: 'object' }, strict: true },
      },
      user: 'ann',
      service_tier: 'flex',
      metadata: { a: 'b' },
    });
    for (const field of ['store', 'prompt_cache_key', 'safety_identifier', 'verbosity'])
      expect(body).not.toHaveProperty(field);
    expect(sent({ outputFormat: { type: 'json_object' } }).response_format).toEqual({ type: 'json_object' });
  });

  it.each(['gpt-5-mini', 'o3', 'openai/gpt-5', 'codex-mini-latest'])('names the maximum as %s wants it', (model) => {
    const body = sent({ maxOutputTokens: 50, verbosity: 'low' }, model);
    expect(body).toMatchObject({ max_completion_tokens: 50, verbosity: 'low' });
    expect(body).not.toHaveProperty('max_tokens');
  });

  it.each(['gpt-4o', 'gpt-oss-120b', 'deepseek-chat', 'mistral-large', 'openai/gpt-4.1', 'qwen3'])(
    'names the maximum as %s knows it',
    (model) => {
      expect(sent({ maxOutputTokens: 50 }, model)).toMatchObject({ max_tokens: 50 });
    },
  );

  it('says a budget for thoughts as an effort, and nothing of thoughts that are free or off', () => {
    expect(sent({ reasoning: { isEnabled: true, budgetTokens: 31_999 } }).reasoning_effort).toBe('high');
    expect(sent({ reasoning: { isEnabled: true, isAdaptive: true } })).not.toHaveProperty('reasoning_effort');
    expect(sent({ reasoning: { isEnabled: false } })).not.toHaveProperty('reasoning_effort');
  });

  it('does not name an end user at greater length than OpenAI takes', () => {
    expect(sent({ endUser: 'a'.repeat(65) })).not.toHaveProperty('user');
  });

  it('refuses, by the name the client knows, what chat cannot say', () => {
    expect(refusedField({ topK: 5 })).toBe('top_k');
    expect(refusedField({ topK: 5, names: { topK: 'k' } })).toBe('k');
    expect(refusedField({ openAiOptions: { truncation: 'auto' } })).toBe('truncation');
    const place = { path: 'messages[0].content[1]' };
    expect(refusedField({ messages: [user({ ...image, ...place, source: { type: 'file', fileId: 'f' } })] })).toBe(
      place.path,
    );
    const source = { type: 'url', url: 'https://a.example/b.pdf' };
    expect(refusedField({ messages: [user({ type: 'document', ...place, source })] })).toBe(place.path);
  });

  it('is understood again as what was meant', () => {
    fc.assert(
      fc.property(requests, (body) => {
        const meant = understood(body);
        const again = understood(sent(meant, 'theirs'));
        expect(comparable(again)).toEqual(comparable({ ...meant, model: 'theirs' }));
      }),
    );
  });
});

function understood(body: object): NeutralRequest {
  const parsed = parseChatRequest(Buffer.from(JSON.stringify(body)));
  const meant = isRefusal(parsed) ? parsed : chatToNeutral(parsed);
  if (isRefusal(meant)) throw new Error(JSON.stringify(meant));
  return meant;
}

/** Where a part stood, and what the client called a field, is not what it means. */
function comparable(meant: NeutralRequest): unknown {
  return JSON.parse(
    JSON.stringify({ ...meant, names: {} }, (key, value: unknown) => (key === 'path' ? undefined : value)),
  );
}

const word = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 });
const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
const userContent = fc.oneof(
  word,
  fc.tuple(word, word, word).map(([before, data, after]) => [
    { type: 'text', text: before },
    { type: 'image_url', image_url: { url: `data:image/png;base64,${Buffer.from(data).toString('base64')}` } },
    { type: 'file', file: { filename: after, file_data: 'data:application/pdf;base64,aGk=' } },
    { type: 'input_audio', input_audio: { data: 'aGk=', format: 'wav' } },
  ]),
);
const toolTurn = fc
  .uniqueArray(fc.tuple(word, word, fc.dictionary(word, fc.jsonValue()), word), {
    selector: ([id]) => id,
    minLength: 1,
    maxLength: 3,
  })
  .map((calls) => [
    {
      role: 'assistant',
      content: null,
      reasoning_content: 'hm',
      tool_calls: calls.map(([id, name, args]) => ({
        id,
        type: 'function',
        function: { name, arguments: JSON.stringify(args) },
      })),
    },
    ...calls.map(([id, , , content]) => ({ role: 'tool', tool_call_id: id, content })),
  ]);
const turns = fc
  .array(
    fc.tuple(
      userContent,
      fc.oneof(
        word.map((content) => [{ role: 'assistant', content }]),
        toolTurn,
      ),
    ),
    {
      minLength: 1,
      maxLength: 3,
    },
  )
  .map((all) =>
    all.flatMap(([content, answer]) => [
      { role: 'user', content },
      ...answer,
      ...(answer.length > 1 ? [{ role: 'assistant', content: 'so' }] : []),
    ]),
  );
const requests = fc.record({
  model: fc.constant('ours'),
  messages: fc
    .tuple(optional(word), turns)
    .map(([system, rest]) => [
      ...(system === undefined ? [] : [{ role: 'developer', content: system }]),
      ...rest,
      { role: 'user', content: 'and now?' },
    ]),
  stream: optional(fc.boolean()),
  max_tokens: optional(fc.integer({ min: 1, max: 9999 })),
  temperature: optional(fc.double({ min: 0, max: 2, noNaN: true })),
  top_p: optional(fc.double({ min: 0, max: 1, noNaN: true })),
  stop: optional(fc.array(word, { minLength: 1, maxLength: 4 })),
  tools: optional(
    fc.array(
      fc.record({ type: fc.constant('function'), function: fc.record({ name: word, description: optional(word) }) }),
      { minLength: 1, maxLength: 3 },
    ),
  ),
  reasoning_effort: optional(fc.constantFrom('none', 'minimal', 'low', 'medium', 'high', 'xhigh')),
  response_format: optional(
    fc.constantFrom(
      { type: 'json_object' },
      { type: 'json_schema', json_schema: { name: 'a', schema: { type: 'object' }, strict: true } },
    ),
  ),
  user: optional(word),
});
