import { isRefusal } from '../invalid-request';
import { fieldOf, type NeutralRequest } from '../neutral/neutral-request';
import { parseChatRequest } from './chat-request';
import { chatToNeutral } from './chat-to-neutral';

const HELLO = { role: 'user', content: 'Hello' };

function translate(body: object): ReturnType<typeof chatToNeutral> {
  const request = parseChatRequest(Buffer.from(JSON.stringify({ model: 'm', messages: [HELLO], ...body })));
  if (isRefusal(request)) throw new Error(`not understood at all: ${JSON.stringify(request)}`);
  return chatToNeutral(request);
}

function neutral(body: object): NeutralRequest {
  const request = translate(body);
  if (isRefusal(request)) throw new Error(JSON.stringify(request));
  return request;
}

const messages = (...sent: object[]): NeutralRequest => neutral({ messages: sent });

function refusedField(body: object): string | undefined {
  const request = translate(body);
  if (!isRefusal(request)) throw new Error('was accepted');
  expect(request.code).toBe('INVALID_REQUEST');
  return request.param;
}

const fn = (name: string): object => ({ type: 'function', function: { name, parameters: { type: 'object' } } });

describe('chatToNeutral', () => {
  it('takes system and developer messages at the head for instructions, later ones for messages', () => {
    const request = messages(
      { role: 'system', content: 'Be brief.' },
      {
        role: 'developer',
        content: [
          { type: 'text', text: 'Be kind.' },
          { type: 'text', text: '' },
        ],
      },
      HELLO,
      { role: 'system', content: 'Be quick.', name: 'boss' },
    );
    expect(request.instructions).toEqual([
      { type: 'text', text: 'Be brief.' },
      { type: 'text', text: 'Be kind.' },
    ]);
    expect(request.messages).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'Hello' }] },
      { role: 'system', path: 'messages[3]', content: [{ type: 'text', text: 'Be quick.' }] },
    ]);
  });

  it('reads what a user can send', () => {
    const content = [
      { type: 'text', text: 'Look' },
      { type: 'image_url', image_url: { url: 'https://a.example/b.png', detail: 'low' } },
      { type: 'image_url', image_url: { url: 'data:image/PNG;base64,aGk=' } },
      { type: 'input_audio', input_audio: { data: 'aGk=', format: 'wav' } },
      { type: 'file', file: { file_id: 'file-1' } },
      { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,aGk=' } },
      { type: 'file', file: { file_data: 'aGk=' } },
    ];
    const at = (index: number): { readonly path: string } => ({ path: `messages[0].content[${index}]` });
    const pdf = { type: 'base64', mediaType: 'application/pdf', data: 'aGk=' };
    expect(messages({ role: 'user', name: 'ann', content }).messages).toEqual([
      {
        role: 'user',
        name: 'ann',
        content: [
          { type: 'text', text: 'Look' },
          { type: 'image', ...at(1), source: { type: 'url', url: 'https://a.example/b.png' }, detail: 'low' },
          { type: 'image', ...at(2), source: { type: 'base64', mediaType: 'image/png', data: 'aGk=' } },
          { type: 'audio', ...at(3), data: 'aGk=', format: 'wav' },
          { type: 'document', ...at(4), source: { type: 'file', fileId: 'file-1' } },
          { type: 'document', ...at(5), source: pdf, filename: 'a.pdf' },
          { type: 'document', ...at(6), source: pdf },
        ],
      },
    ]);
  });

  it('reads an answer that is sent back, with its thoughts, its calls and what SDKs add', () => {
    const answer = {
      role: 'assistant',
      content: 'Wait',
      refusal: null,
      annotations: [],
      audio: null,
      parsed: null,
      reasoning_content: 'hm',
      tool_calls: [
        { id: 'a', index: 0, type: 'function', function: { name: 'f', arguments: '{"x":1}', parsed_arguments: {} } },
        { id: 'b', type: 'function', function: { name: 'g', arguments: '' } },
        { id: 'c', type: 'custom', custom: { name: 'sql', input: 'SELECT' } },
      ],
    };
    const call = (index: number): object => ({ type: 'tool_call', path: `messages[1].tool_calls[${index}]` });
    expect(messages(HELLO, answer).messages[1]).toEqual({
      role: 'assistant',
      content: [
        { type: 'reasoning', path: 'messages[1].reasoning_content', text: 'hm' },
        { type: 'text', text: 'Wait' },
        { ...call(0), kind: 'function', callId: 'a', name: 'f', arguments: '{"x":1}' },
        { ...call(1), kind: 'function', callId: 'b', name: 'g', arguments: '{}' },
        { ...call(2), kind: 'custom', callId: 'c', name: 'sql', arguments: 'SELECT' },
      ],
    });
  });

  it('reads thoughts with their signatures, whole or in pieces as they were streamed', () => {
    const text = (more: object): object => ({ type: 'reasoning.text', index: 0, ...more });
    const dark = { type: 'reasoning.encrypted', data: 'dark', index: 1, id: 'rs_1' };
    const whole = [text({ text: 'hm so', signature: 's' }), dark];
    const pieces = [text({ text: 'hm' }), text({ text: ' so' }), text({ signature: 's' }), dark];
    for (const reasoning_details of [whole, pieces]) {
      const answer = { role: 'assistant', content: 'a', reasoning_content: 'hm so', reasoning_details };
      expect(messages(HELLO, answer, HELLO).messages[1]).toMatchObject({
        content: [
          { type: 'reasoning', text: 'hm so', signature: 's' },
          { type: 'reasoning', text: '', signature: 'dark', isRedacted: true, id: 'rs_1' },
          { type: 'text', text: 'a' },
        ],
      });
    }
  });

  it('reads refusals', () => {
    const said = { role: 'assistant', content: null, refusal: 'No.' };
    const part = { role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] };
    for (const answer of [said, part]) {
      expect(messages(HELLO, answer).messages[1]?.content).toEqual([{ type: 'refusal', text: 'No.' }]);
    }
  });

  it('puts the results of one turn into one message', () => {
    const result = (id: string, content: unknown): object => ({ role: 'tool', tool_call_id: id, content, name: 'f' });
    const image = { type: 'image_url', image_url: { url: 'https://a.example/b.png' } };
    const request = messages(HELLO, result('a', 'one'), result('b', [{ type: 'text', text: 'two' }, image]), HELLO);
    expect(request.messages).toHaveLength(3);
    expect(request.messages[1]).toMatchObject({
      role: 'user',
      content: [
        { type: 'tool_result', path: 'messages[1]', callId: 'a', content: [{ type: 'text', text: 'one' }] },
        { type: 'tool_result', path: 'messages[2]', callId: 'b', content: [{ text: 'two' }, { type: 'image' }] },
      ],
    });
  });

  it('keeps marks for the cache, on parts, messages, tools and results', () => {
    const cache_control = { type: 'ephemeral' };
    const text = { type: 'text', text: 'a' };
    const request = neutral({
      messages: [
        { role: 'system', content: 'a', cache_control },
        { role: 'user', content: [{ ...text, cache_control: { type: 'ephemeral', ttl: '1h' } }, text] },
        { role: 'user', content: [{ ...text, prompt_cache_breakpoint: {} }] },
        { role: 'tool', tool_call_id: 'x', content: 'b', cache_control },
      ],
      tools: [{ ...fn('f'), cache_control }],
    });
    const cacheControl = { type: 'ephemeral' };
    expect(request.instructions).toEqual([{ ...text, cacheControl }]);
    expect(request.messages).toMatchObject([
      { content: [{ cacheControl: { type: 'ephemeral', ttl: '1h' } }, { text: 'a' }] },
      { content: [{ cacheControl }] },
      { content: [{ type: 'tool_result', cacheControl }] },
    ]);
    expect(request.tools).toMatchObject([{ name: 'f', cacheControl }]);
  });

  it('reads tools and what may be called', () => {
    const grammar = { syntax: 'regex', definition: '.+' };
    const custom = { type: 'custom', custom: { name: 'sql', description: 'd', format: { type: 'grammar', grammar } } };
    const { tools } = neutral({ tools: [fn('f'), custom] });
    expect(tools).toEqual([
      { type: 'function', path: 'tools[0]', name: 'f', parameters: { type: 'object' } },
      { type: 'custom', path: 'tools[1]', name: 'sql', description: 'd', format: { type: 'grammar', ...grammar } },
    ]);
    const chosen = (tool_choice: unknown): unknown => neutral({ tools: [fn('f'), fn('g')], tool_choice }).toolChoice;
    expect(['auto', 'none', 'required'].map(chosen)).toEqual([
      { type: 'auto' },
      { type: 'none' },
      { type: 'required' },
    ]);
    expect(chosen({ type: 'function', function: { name: 'f' } })).toEqual({ type: 'tool', name: 'f' });
    expect(chosen({ type: 'custom', custom: { name: 'g' } })).toEqual({ type: 'tool', name: 'g' });
    expect(chosen(null)).toBeUndefined();
  });

  it('leaves out the tools that are not allowed', () => {
    const allowed_tools = { mode: 'required', tools: [{ type: 'function', function: { name: 'g' } }] };
    const request = neutral({ tools: [fn('f'), fn('g')], tool_choice: { type: 'allowed_tools', allowed_tools } });
    expect(request).toMatchObject({ tools: [{ name: 'g' }], toolChoice: { type: 'required' } });
    expect(request.tools).toHaveLength(1);
  });

  it('reads everything else that other APIs have', () => {
    const request = neutral({
      max_completion_tokens: 50,
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      stop: 'END',
      parallel_tool_calls: false,
      reasoning_effort: 'low',
      response_format: { type: 'json_schema', json_schema: { name: 'a', schema: { type: 'object' }, strict: true } },
      verbosity: 'low',
      user: 'ann',
      service_tier: 'flex',
      metadata: { a: 'b' },
      store: false,
      prompt_cache_key: 'k',
      stream: true,
      stream_options: { include_usage: true, include_obfuscation: false },
      session_id: 's',
    });
    expect(request).toMatchObject({
      model: 'm',
      stream: true,
      maxOutputTokens: 50,
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      stopSequences: ['END'],
      parallelToolCalls: false,
      reasoning: { effort: 'low' },
      outputFormat: { type: 'json_schema', name: 'a', schema: { type: 'object' }, strict: true },
      verbosity: 'low',
      endUser: 'ann',
      serviceTier: 'flex',
      openAiOptions: { metadata: { a: 'b' }, store: false, prompt_cache_key: 'k' },
    });
    expect(fieldOf(request, 'stopSequences')).toBe('stop');
    expect(fieldOf(request, 'topK')).toBe('top_k');
    expect(fieldOf(request, 'maxOutputTokens')).toBe('max_completion_tokens');
    expect(neutral({ thinking: { type: 'enabled', budget_tokens: 2000 } }).reasoning).toEqual({
      isEnabled: true,
      budgetTokens: 2000,
    });
    expect(neutral({ response_format: { type: 'text' } })).not.toHaveProperty('outputFormat');
    expect(neutral({ response_format: { type: 'json_object' } }).outputFormat).toEqual({ type: 'json_object' });
  });

  it('accepts what clients send by default', () => {
    const ordinary = {
      n: 1,
      frequency_penalty: 0,
      presence_penalty: 0,
      logprobs: false,
      top_logprobs: 0,
      logit_bias: {},
      modalities: ['text'],
      functions: [],
      stop: null,
      seed: null,
      tools: null,
      audio: null,
    };
    expect(neutral(ordinary)).toEqual(neutral({}));
  });

  it.each([
    ['n', { n: 2 }],
    ['seed', { seed: 7 }],
    ['logprobs', { logprobs: true }],
    ['top_logprobs', { top_logprobs: 3 }],
    ['logit_bias', { logit_bias: { 1: 5 } }],
    ['frequency_penalty', { frequency_penalty: 1 }],
    ['presence_penalty', { presence_penalty: -1 }],
    ['prediction', { prediction: { type: 'content', content: 'a' } }],
    ['modalities', { modalities: ['text', 'audio'] }],
    ['audio', { audio: { voice: 'alloy', format: 'wav' } }],
    ['web_search_options', { web_search_options: {} }],
    ['functions', { functions: [{ name: 'f' }] }],
    ['function_call', { function_call: 'auto' }],
    ['frobnicate', { frobnicate: 1 }],
    ['stream_options.frobnicate', { stream_options: { frobnicate: 1 } }],
    ['temperature', { temperature: 'hot' }],
    ['reasoning_effort', { reasoning_effort: 3 }],
    ['parallel_tool_calls', { parallel_tool_calls: 'no' }],
    ['stop', { stop: [1] }],
    ['thinking.type', { thinking: { type: 'often' } }],
    ['tools[1]', { tools: [fn('f'), { type: 'web_search_preview' }] }],
    ['tools[0].function.name', { tools: [{ type: 'function', function: {} }] }],
    ['tools[0].function.frobnicate', { tools: [{ type: 'function', function: { name: 'f', frobnicate: 1 } }] }],
    ['tool_choice', { tool_choice: 'maybe' }],
    ['tool_choice.type', { tool_choice: { type: 'mcp' } }],
    ['response_format.type', { response_format: { type: 'grammar' } }],
    ['response_format.json_schema', { response_format: { type: 'json_schema' } }],
  ])('refuses, by its name, what cannot be said: %s', (field, body) => {
    expect(refusedField(body)).toBe(field);
  });

  it.each([
    ['messages[0].role', { role: 'function', name: 'f', content: 'a' }],
    ['messages[0].role', { role: 'critic', content: 'a' }],
    ['messages[0].content', { role: 'user', content: null }],
    ['messages[0].frobnicate', { role: 'user', content: 'a', frobnicate: 1 }],
    ['messages[0].content[0].type', { role: 'user', content: [{ type: 'video_url', video_url: { url: 'x' } }] }],
    ['messages[0].content[0].type', { role: 'system', content: [{ type: 'image_url', image_url: { url: 'x' } }] }],
    ['messages[0].content[0].frobnicate', { role: 'user', content: [{ type: 'text', text: 'a', frobnicate: 1 }] }],
    [
      'messages[0].content[0].image_url.url',
      { role: 'user', content: [{ type: 'image_url', image_url: { url: '' } }] },
    ],
    [
      'messages[0].content[0].image_url.url',
      { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:image/png,raw' } }] },
    ],
    [
      'messages[0].content[0].input_audio.format',
      { role: 'user', content: [{ type: 'input_audio', input_audio: { data: 'a' } }] },
    ],
    ['messages[0].content[0].file.file_data', { role: 'user', content: [{ type: 'file', file: {} }] }],
    ['messages[0].audio', { role: 'assistant', audio: { id: 'a' } }],
    ['messages[0].function_call', { role: 'assistant', function_call: { name: 'f', arguments: '{}' } }],
    ['messages[0].tool_calls[0].id', { role: 'assistant', tool_calls: [{ function: { name: 'f' } }] }],
    ['messages[0].tool_calls[0].function', { role: 'assistant', tool_calls: [{ id: 'a' }] }],
    [
      'messages[0].tool_calls[0].function.arguments',
      { role: 'assistant', tool_calls: [{ id: 'a', function: { name: 'f', arguments: {} } }] },
    ],
    ['messages[0].reasoning_details[0].type', { role: 'assistant', reasoning_details: [{ type: 'x' }] }],
    ['messages[0].tool_call_id', { role: 'tool', content: 'a' }],
  ])('refuses, by its place, what cannot be said: %s', (field, message) => {
    expect(refusedField({ messages: [message] })).toBe(field);
  });
});
