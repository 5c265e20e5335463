import type { JsonObject } from '../../../kernel/json-object';
import { isRefusal } from '../invalid-request';
import type { NeutralMessage, NeutralRequest } from '../neutral/neutral-request';
import { renderMessagesRequest } from './request-renderer';

const HELLO: NeutralMessage = { role: 'user', content: [{ type: 'text', text: 'Hi' }] };
const SAID = { role: 'user', content: [{ type: 'text', text: 'Hi' }] };
const SCHEMA = { type: 'object', properties: { at: { type: 'string' } } };
const TOOL = { type: 'function', name: 'look', parameters: SCHEMA, path: 'tools[0]' } as const;

function render(
  fields: Partial<NeutralRequest>,
  upstreamModel = 'claude-sonnet-4-5',
): ReturnType<typeof renderMessagesRequest> {
  const request: NeutralRequest = {
    model: 'claude',
    stream: false,
    instructions: [],
    messages: [HELLO],
    tools: [],
    stopSequences: [],
    openAiOptions: {},
    names: { outputFormat: 'response_format', stopSequences: 'stop' },
    ...fields,
  };
  return renderMessagesRequest(request, { upstreamModel, maxOutputTokens: 1_024 });
}

function body(fields: Partial<NeutralRequest>, upstreamModel?: string): JsonObject {
  const rendered = render(fields, upstreamModel);
  if (isRefusal(rendered)) throw new Error(`${rendered.param ?? 'it'} was refused`);
  return JSON.parse(rendered.toString()) as JsonObject;
}

const call = (callId: string, name = 'look', args = '{"at":"x"}'): NeutralMessage => ({
  role: 'assistant',
  content: [{ type: 'tool_call', kind: 'function', callId, name, arguments: args, path: 'm' }],
});
const result = (callId: string, text = 'seen'): NeutralMessage => ({
  role: 'user',
  content: [{ type: 'tool_result', callId, content: [{ type: 'text', text }], path: 'm' }],
});

describe('a request rendered for Anthropic', () => {
  it('has a maximum, which is what was reserved where the client named none', () => {
    expect(body({})).toEqual({ model: 'claude-sonnet-4-5', max_tokens: 1_024, messages: [SAID] });
    expect(body({ maxOutputTokens: 7, stream: true })).toMatchObject({ max_tokens: 7, stream: true });
  });

  it('goes by turns: what one side says in a row is one message, results of tools come first, empty text is left out', () => {
    const messages: NeutralMessage[] = [
      { role: 'assistant', content: [{ type: 'text', text: '' }] },
      HELLO,
      { role: 'user', content: [{ type: 'text', text: ' ' }] },
      { role: 'assistant', content: [{ type: 'text', text: 'Both' }] },
      call('a'),
      call('b'),
      { role: 'user', content: [{ type: 'text', text: 'Quick' }] },
      result('a'),
      result('b', ''),
    ];
    const use = (id: string): object => ({ type: 'tool_use', id, name: 'look', input: { at: 'x' } });
    expect(body({ messages }).messages).toEqual([
      SAID,
      { role: 'assistant', content: [{ type: 'text', text: 'Both' }, use('a'), use('b')] },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: 'seen' }] },
          { type: 'tool_result', tool_use_id: 'b' },
          { type: 'text', text: 'Quick' },
        ],
      },
    ]);
  });

  it('names calls as Anthropic takes it, in the call and in its result alike', () => {
    const { messages } = body({ messages: [HELLO, call('functions.look:0'), result('functions.look:0')] });
    const [, asked, told] = messages as readonly { content: readonly JsonObject[] }[];
    expect(asked?.content[0]?.id).toMatch(/^[a-zA-Z0-9_-]+$/);
    expect(told?.content[0]?.tool_use_id).toBe(asked?.content[0]?.id);
  });

  it.each([
    ['', {}],
    ['[1]', { arguments: '[1]' }],
    ['{"at":', { arguments: '{"at":' }],
  ])('takes arguments %j of an earlier call for %j', (args, input) => {
    const { messages } = body({ messages: [HELLO, call('a', 'look', args), result('a')] });
    expect(messages).toMatchObject([{}, { content: [{ input }] }, {}]);
  });

  it('shows images and documents, and reads text files itself', () => {
    const data = Buffer.from('plain').toString('base64');
    const content = [
      { type: 'image', source: { type: 'base64', mediaType: 'image/png', data: 'AA' }, path: 'p' },
      { type: 'image', source: { type: 'url', url: 'https://a.example' }, path: 'p', detail: 'low' },
      {
        type: 'document',
        source: { type: 'base64', mediaType: 'application/pdf', data: 'AA' },
        filename: 'a.pdf',
        path: 'p',
      },
      { type: 'document', source: { type: 'base64', mediaType: 'text/markdown', data }, path: 'p' },
    ] as const;
    expect(body({ messages: [{ role: 'user', content }] }).messages).toEqual([
      {
        role: 'user',
        content: [
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AA' } },
          { type: 'image', source: { type: 'url', url: 'https://a.example' } },
          { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'AA' }, title: 'a.pdf' },
          { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'plain' } },
        ],
      },
    ]);
  });

  it('says in the middle of a conversation what the system says: as its own where the model knows that, else marked', () => {
    const system: NeutralMessage = { role: 'system', content: [{ type: 'text', text: 'Be brief.' }], path: 'm' };
    const answer: NeutralMessage = { role: 'assistant', content: [{ type: 'text', text: 'Ok' }] };
    const marked = { type: 'text', text: '<system>\nBe brief.\n</system>' };
    expect(body({ messages: [HELLO, system] }, 'claude-opus-4-8').messages).toEqual([
      SAID,
      { role: 'system', content: [{ type: 'text', text: 'Be brief.' }] },
    ]);
    expect(body({ messages: [HELLO, system] }).messages).toEqual([
      { role: 'user', content: [...SAID.content, marked] },
    ]);
    expect(body({ messages: [HELLO, answer, system, HELLO] }, 'claude-opus-4-8').messages).toMatchObject([
      SAID,
      { role: 'assistant' },
      { role: 'user', content: [marked, ...SAID.content] },
    ]);
  });

  it('keeps thoughts that Anthropic signed, and leaves out those of others', () => {
    const content = [
      { type: 'reasoning', text: 'Mine', signature: 'EvQB', path: 'p' },
      { type: 'reasoning', text: '', signature: 'EmwK', isRedacted: true, path: 'p' },
      { type: 'reasoning', text: 'Unsigned', path: 'p' },
      { type: 'reasoning', text: 'Foreign', signature: 'gAAAAABo', path: 'p' },
      { type: 'refusal', text: 'No.' },
    ] as const;
    expect(body({ messages: [HELLO, { role: 'assistant', content }, HELLO] }).messages).toMatchObject([
      SAID,
      {
        content: [
          { type: 'thinking', thinking: 'Mine', signature: 'EvQB' },
          { type: 'redacted_thinking', data: 'EmwK' },
          { type: 'text', text: 'No.' },
        ],
      },
      SAID,
    ]);
  });

  it('makes functions of tools, also of those that take text', () => {
    const custom = { type: 'custom', name: 'patch', description: 'Applies', path: 'tools[1]' } as const;
    const { tools, messages } = body({
      tools: [
        { ...TOOL, strict: true, cacheControl: { type: 'ephemeral' } },
        custom,
        { ...TOOL, name: 'bare', parameters: {} },
      ],
      messages: [
        HELLO,
        {
          role: 'assistant',
          content: [{ type: 'tool_call', kind: 'custom', callId: 'c', name: 'patch', arguments: '*** "x"', path: 'm' }],
        },
        result('c'),
      ],
    });
    expect(tools).toEqual([
      { name: 'look', input_schema: SCHEMA, strict: true, cache_control: { type: 'ephemeral' } },
      {
        name: 'patch',
        description: 'Applies',
        input_schema: {
          type: 'object',
          properties: { input: { type: 'string' } },
          required: ['input'],
          additionalProperties: false,
        },
      },
      { name: 'bare', input_schema: { type: 'object' } },
    ]);
    expect(messages).toMatchObject([{}, { content: [{ input: { input: '*** "x"' } }] }, {}]);
  });

  it.each<[Partial<NeutralRequest>, unknown]>([
    [{ toolChoice: { type: 'auto' } }, { type: 'auto' }],
    [{ toolChoice: { type: 'none' }, parallelToolCalls: false }, { type: 'none' }],
    [
      { toolChoice: { type: 'required' }, parallelToolCalls: false },
      { type: 'any', disable_parallel_tool_use: true },
    ],
    [{ toolChoice: { type: 'tool', name: 'look' } }, { type: 'tool', name: 'look' }],
    [{ parallelToolCalls: false }, { type: 'auto', disable_parallel_tool_use: true }],
    [{ parallelToolCalls: true }, undefined],
    [{ toolChoice: { type: 'auto' }, tools: [] }, undefined],
  ])('chooses among tools as %j', (fields, choice) => {
    expect(body({ tools: [TOOL], ...fields }).tool_choice).toEqual(choice);
  });

  describe('asked to think', () => {
    const effort = (value: string): Partial<NeutralRequest> => ({
      maxOutputTokens: 16_000,
      reasoning: { effort: value },
    });

    it.each<[string, Partial<NeutralRequest>, unknown, unknown]>([
      ['claude-sonnet-4-5', effort('medium'), { type: 'enabled', budget_tokens: 8_192 }, undefined],
      ['claude-sonnet-4-5', effort('none'), undefined, undefined],
      ['claude-sonnet-4-5', { reasoning: { effort: 'high' }, maxOutputTokens: 900 }, undefined, undefined],
      [
        'claude-sonnet-4-5',
        { reasoning: { isEnabled: true, budgetTokens: 2_000 }, maxOutputTokens: 4_000 },
        { type: 'enabled', budget_tokens: 2_000 },
        undefined,
      ],
      ['claude-sonnet-4-5', { reasoning: { summary: 'auto' } }, undefined, undefined],
      ['claude-sonnet-4-5', { reasoning: { isEnabled: false } }, undefined, undefined],
      ['claude-sonnet-4-5', { ...effort('medium'), temperature: 0.5 }, undefined, undefined],
      [
        'claude-sonnet-4-5',
        { ...effort('medium'), tools: [TOOL], toolChoice: { type: 'required' } },
        undefined,
        undefined,
      ],
      ['claude-sonnet-4-5', { ...effort('medium'), messages: [HELLO, call('a'), result('a')] }, undefined, undefined],
      [
        'claude-opus-4-8',
        { ...effort('medium'), messages: [HELLO, call('a'), result('a')] },
        { type: 'adaptive', display: 'summarized' },
        { effort: 'medium' },
      ],
      ['claude-sonnet-4-6', effort('xhigh'), { type: 'adaptive', display: 'summarized' }, { effort: 'high' }],
      ['claude-opus-4-7', effort('xhigh'), { type: 'adaptive', display: 'summarized' }, { effort: 'xhigh' }],
      ['claude-fable-5', effort('minimal'), { type: 'adaptive', display: 'summarized' }, { effort: 'low' }],
      ['claude-fable-5', effort('none'), undefined, { effort: 'low' }],
    ])('%s by %j thinks as %j with %j', (model, fields, thinking, config) => {
      const rendered = body(fields, model);
      expect(rendered.thinking).toEqual(thinking);
      expect(rendered.output_config).toEqual(config);
    });
  });

  it('holds answers to a schema, closed as Anthropic wants it', () => {
    const schema = { type: 'object', properties: { properties: { type: 'object' } }, required: ['properties'] };
    expect(body({ outputFormat: { type: 'json_schema', name: 'n', schema } }).output_config).toEqual({
      format: {
        type: 'json_schema',
        schema: {
          ...schema,
          properties: { properties: { type: 'object', additionalProperties: false } },
          additionalProperties: false,
        },
      },
    });
  });

  it.each([
    ['auto', 'auto'],
    ['priority', 'auto'],
    ['default', 'standard_only'],
  ])('asks for tier %s as %s', (serviceTier, service_tier) => {
    expect(body({ serviceTier })).toMatchObject({ service_tier });
  });

  it('says who asks, how to sample and where to stop', () => {
    const fields = { endUser: 'u', temperature: 1, topP: 0.5, topK: 3, stopSequences: ['END'], verbosity: 'low' };
    expect(body(fields)).toMatchObject({
      metadata: { user_id: 'u' },
      temperature: 1,
      top_p: 0.5,
      top_k: 3,
      stop_sequences: ['END'],
    });
  });

  it('takes options of OpenAI that change no answer', () => {
    const openAiOptions = { store: true, metadata: { a: 'b' }, prompt_cache_key: 'k', seed: null };
    expect(isRefusal(render({ openAiOptions }))).toBe(false);
  });

  it.each<[string, Partial<NeutralRequest>]>([
    ['temperature', { temperature: 1.2 }],
    ['response_format', { outputFormat: { type: 'json_object' } }],
    ['stop', { stopSequences: ['\n'] }],
    ['service_tier', { serviceTier: 'flex' }],
    ['tool_choice', { toolChoice: { type: 'required' } }],
    ['instructions', { messages: [] }],
    ['seed', { openAiOptions: { seed: 7 } }],
    ['tools[0].parameters', { tools: [{ ...TOOL, parameters: { type: 'string' } }] }],
    ['m[1]', { messages: [{ role: 'user', content: [{ type: 'audio', data: 'AA', format: 'wav', path: 'm[1]' }] }] }],
    [
      'm[2]',
      {
        messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'file', fileId: 'f' }, path: 'm[2]' }] }],
      },
    ],
    [
      'm[3]',
      {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'document', source: { type: 'base64', mediaType: 'application/zip', data: '' }, path: 'm[3]' },
            ],
          },
        ],
      },
    ],
  ])('refuses what Anthropic has no word for, naming %s', (param, fields) => {
    expect(render(fields)).toMatchObject({ code: 'INVALID_REQUEST', param });
  });

  it('sends the newest models no sampling: defaults are left out, the rest is refused by name', () => {
    const sampled = body({ temperature: 1, topP: 1 }, 'claude-opus-4-8');
    expect(sampled).not.toHaveProperty('temperature');
    expect(sampled).not.toHaveProperty('top_p');
    expect(body({ temperature: 0.2, topP: 1 })).toMatchObject({ temperature: 0.2 });
    for (const [param, fields] of Object.entries({
      temperature: { temperature: 0 },
      top_p: { topP: 0.9 },
      top_k: { topK: 1 },
    })) {
      expect(render(fields, 'claude-opus-4-7')).toMatchObject({ code: 'INVALID_REQUEST', param });
    }
  });

  it('refuses to hold a model to a schema that was made before models could be', () => {
    const outputFormat = { type: 'json_schema', schema: {} } as const;
    expect(render({ outputFormat }, 'claude-3-7-sonnet-20250219')).toMatchObject({ param: 'response_format' });
  });
});
