import { isRefusal } from '../invalid-request';
import type { NeutralRequest } from '../neutral/neutral-request';
import { MESSAGES_DIALECT } from './messages-dialect';
import { parseMessagesRequest } from './messages-request';
import { neutralOfMessages } from './request-reader';

const HELLO = { model: 'claude', max_tokens: 64, messages: [{ role: 'user', content: 'Hi' }] };

function read(fields: object): ReturnType<typeof neutralOfMessages> {
  const request = parseMessagesRequest(Buffer.from(JSON.stringify({ ...HELLO, ...fields })));
  if (isRefusal(request)) throw new Error(`not understood: ${request.param ?? ''}`);
  return neutralOfMessages(request);
}

function neutral(fields: object): NeutralRequest {
  const request = read(fields);
  if (isRefusal(request)) throw new Error(`${request.param ?? 'body'} ${String(request.values?.reason)}`);
  return request;
}

const said = (...content: object[]): object => ({ messages: [{ role: 'user', content }] });
const answered = (...content: object[]): object => ({
  messages: [
    { role: 'assistant', content },
    { role: 'user', content: 'Go on' },
  ],
});
const EPHEMERAL = { type: 'ephemeral' };

/** As Claude Code sends it (2.x), shortened. */
const CLAUDE_CODE = {
  model: 'claude-sonnet-4-5-20250929',
  max_tokens: 32_000,
  stream: true,
  temperature: 1,
  metadata: { user_id: `user_${'0a'.repeat(32)}_account__session_5f3c` },
  system: [
    { type: 'text', text: 'x-anthropic-billing-header: cc_version=2.1; cch=0a1b2;' },
    { type: 'text', text: "You are Claude Code, Anthropic's official CLI for Claude.", cache_control: EPHEMERAL },
  ],
  tools: [
    {
      name: 'Bash',
      description: 'Runs a command',
      input_schema: { $schema: 'https://json-schema.org/draft/2020-12/schema', type: 'object', properties: {} },
      cache_control: EPHEMERAL,
      eager_input_streaming: true,
    },
  ],
  thinking: { type: 'enabled', budget_tokens: 31_999 },
  context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
  output_config: { effort: 'xhigh' },
  messages: [
    {
      role: 'user',
      content: [
        { type: 'text', text: '<system-reminder>…</system-reminder>' },
        { type: 'text', text: 'ls' },
      ],
    },
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'List.', signature: 'sig' },
        { type: 'tool_use', id: 'toolu_1', name: 'Bash', input: { command: 'ls' } },
      ],
    },
    {
      role: 'user',
      content: [
        { type: 'tool_result', tool_use_id: 'toolu_1', content: 'a.ts', is_error: false, cache_control: EPHEMERAL },
      ],
    },
  ],
};

describe('a request for a message in no dialect', () => {
  it('says what Claude Code sends by default', () => {
    expect(neutral(CLAUDE_CODE)).toMatchObject({
      model: 'claude-sonnet-4-5-20250929',
      stream: true,
      maxOutputTokens: 32_000,
      temperature: 1,
      endUser: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown,
      instructions: [{ type: 'text', text: /official CLI/ as unknown, cacheControl: EPHEMERAL }].map((text) => ({
        ...text,
        text: expect.stringContaining('official CLI') as unknown,
      })),
      tools: [{ type: 'function', name: 'Bash', cacheControl: EPHEMERAL, path: 'tools[0]' }],
      reasoning: { isEnabled: true, budgetTokens: 31_999, effort: 'high', summary: 'auto' },
      messages: [
        { role: 'user', content: [{ type: 'text' }, { type: 'text', text: 'ls' }] },
        {
          role: 'assistant',
          content: [
            { type: 'reasoning', text: 'List.', signature: 'sig' },
            { type: 'tool_call', kind: 'function', callId: 'toolu_1', name: 'Bash', arguments: '{"command":"ls"}' },
          ],
        },
        {
          role: 'user',
          content: [{ type: 'tool_result', callId: 'toolu_1', content: [{ type: 'text', text: 'a.ts' }] }],
        },
      ],
    });
  });

  it('keeps what is shown: images, documents and what tools brought', () => {
    const png = { type: 'base64', media_type: 'image/png', data: 'AAAA' };
    const { messages } = neutral(
      said(
        { type: 'image', source: png, cache_control: EPHEMERAL },
        { type: 'image', source: { type: 'url', url: 'https://a.example/b.png' } },
        { type: 'document', source: { type: 'file', file_id: 'file_1' }, title: 'Plan', context: 'From May' },
        { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'All of it' } },
        {
          type: 'document',
          source: {
            type: 'content',
            content: [
              { type: 'text', text: 'One' },
              { type: 'text', text: 'Two' },
            ],
          },
        },
        { type: 'tool_result', tool_use_id: 't', content: [{ type: 'image', source: png }], is_error: true },
        { type: 'search_result', title: 'News', source: 'https://n.example', content: [{ type: 'text', text: 'Sun' }] },
      ),
    );
    expect(messages[0]?.content).toMatchObject([
      { type: 'image', source: { type: 'base64', mediaType: 'image/png', data: 'AAAA' }, cacheControl: EPHEMERAL },
      { type: 'image', source: { type: 'url', url: 'https://a.example/b.png' } },
      { type: 'text', text: 'From May' },
      { type: 'document', source: { type: 'file', fileId: 'file_1' }, filename: 'Plan' },
      { type: 'document', source: { type: 'text', text: 'All of it' } },
      { type: 'document', source: { type: 'text', text: 'One\nTwo' } },
      { type: 'tool_result', content: [{ type: 'image', path: 'messages[0].content[5].content[0]' }], isError: true },
      { type: 'text', text: 'News\nhttps://n.example\nSun' },
    ]);
  });

  it.each([
    [{ type: 'auto' }, { toolChoice: { type: 'auto' } }],
    [
      { type: 'any', disable_parallel_tool_use: true },
      { toolChoice: { type: 'required' }, parallelToolCalls: false },
    ],
    [{ type: 'tool', name: 'Bash' }, { toolChoice: { type: 'tool', name: 'Bash' } }],
    [{ type: 'none' }, { toolChoice: { type: 'none' } }],
  ])('reads tool_choice %j', (tool_choice, meant) => {
    expect(neutral({ tool_choice })).toMatchObject(meant);
  });

  it.each([
    [{ thinking: { type: 'adaptive' } }, { isEnabled: true, isAdaptive: true, summary: 'auto' }],
    [{ thinking: { type: 'adaptive', display: 'omitted' } }, { isEnabled: true, isAdaptive: true }],
    [{ thinking: { type: 'disabled' } }, { isEnabled: false }],
    [{ thinking: { type: 'between_tools' } }, { isEnabled: true, effort: 'low' }],
    [{ output_config: { effort: 'max' } }, { effort: 'high' }],
    [{}, undefined],
  ])('reads of %j how to think', (fields, reasoning) => {
    expect(neutral(fields).reasoning).toEqual(reasoning);
  });

  it('holds a provider to a schema strictly only where OpenAI can', () => {
    const schema = {
      type: 'object',
      properties: { a: { type: 'string' } },
      required: ['a'],
      additionalProperties: false,
    };
    const open = { ...schema, required: [] };
    const format = (given: object): object => ({ output_config: { format: { type: 'json_schema', schema: given } } });
    expect(neutral(format(schema)).outputFormat).toEqual({ type: 'json_schema', schema, strict: true });
    expect(neutral(format(open)).outputFormat).toEqual({ type: 'json_schema', schema: open, strict: false });
    expect(neutral({ output_format: { type: 'json_schema', schema } }).outputFormat).toMatchObject({ strict: true });
  });

  it('keeps system messages in their place, and names tools examples in what is read about them', () => {
    const system = { role: 'system', content: 'Be brief.' };
    const messages = [...HELLO.messages, system, { role: 'assistant', content: 'Ok' }, ...HELLO.messages];
    expect(neutral({ messages }).messages[1]).toEqual({
      role: 'system',
      content: [{ type: 'text', text: 'Be brief.' }],
      path: 'messages[1]',
    });
    const tool = { name: 't', description: 'Does', input_schema: { type: 'object' }, input_examples: [{ a: 1 }] };
    expect(neutral({ tools: [tool] }).tools[0]?.description).toBe('Does\n\nExamples of input:\n{"a":1}');
  });

  it.each([
    ['container', { container: 'c_1' }],
    ['some_new_field', { some_new_field: 1 }],
    ['inference_geo', { inference_geo: 'eu' }],
    ['mcp_servers', { mcp_servers: [{ type: 'url' }] }],
    ['context_management.edits[0]', { context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] } }],
    ['max_tokens', { max_tokens: 0 }],
    ['temperature', { temperature: 'warm' }],
    ['metadata.plan', { metadata: { plan: 'pro' } }],
    ['service_tier', { service_tier: 'flex' }],
    ['thinking.type', { thinking: { type: 'wild' } }],
    ['tool_choice.type', { tool_choice: { type: 'some' } }],
    ['output_config.task_budget', { output_config: { task_budget: { total: 1 } } }],
    ['output_config.format', { output_config: { format: { type: 'yaml' } } }],
    ['tools[1]', { tools: [{ name: 'a' }, { type: 'web_search_20250305', name: 'web_search' }] }],
    ['tools[0].unheard_of', { tools: [{ name: 'a', unheard_of: true }] }],
    ['messages[1]', { messages: [...HELLO.messages, { role: 'assistant', content: '{' }] }],
    ['messages[0].role', { messages: [{ role: 'tool', content: 'x' }] }],
    ['messages[0].content[0]', said({ type: 'container_upload', file_id: 'f' })],
    [
      'messages[0].content[0].citations',
      said({ type: 'document', source: { type: 'file', file_id: 'f' }, citations: { enabled: true } }),
    ],
    [
      'messages[0].content[0].content[0]',
      said({ type: 'tool_result', tool_use_id: 't', content: [{ type: 'tool_reference' }] }),
    ],
    ['messages[0].content[0].tool_use_id', said({ type: 'tool_result' })],
    ['messages[0].content[0]', answered({ type: 'server_tool_use', id: 's', name: 'web_search', input: {} })],
    [
      'messages[0].content[0].toolset_name',
      answered({ type: 'tool_use', id: 't', name: 'n', input: {}, toolset_name: 'c' }),
    ],
  ])('refuses what it has no place for, naming %s', (param, fields) => {
    expect(read(fields)).toMatchObject({ code: 'INVALID_REQUEST', param });
  });

  it('takes hints that change no answer: caching, its diagnosis, defaults', () => {
    const hints = {
      cache_control: EPHEMERAL,
      diagnostics: { previous_message_id: null },
      speed: 'standard',
      fallbacks: 'default',
      context_management: { edits: [] },
      container: null,
      session_id: 's',
      metadata: {},
    };
    expect(isRefusal(read(hints))).toBe(false);
  });

  it('comes back as it was when it is rendered for its own dialect, but for hints', () => {
    const rendered = MESSAGES_DIALECT.translation?.renderRequest(neutral(CLAUDE_CODE), {
      upstreamModel: CLAUDE_CODE.model,
      maxOutputTokens: 1,
    });
    if (!Buffer.isBuffer(rendered)) throw new Error('it was refused');
    const { model, max_tokens, stream, temperature, system, tools, messages } = CLAUDE_CODE;
    expect(JSON.parse(rendered.toString())).toEqual({
      model,
      max_tokens,
      stream,
      temperature,
      metadata: { user_id: expect.any(String) as unknown },
      system: system.slice(1),
      tools: [{ ...tools[0], eager_input_streaming: undefined }],
      // Below the maximum by what an answer needs.
      thinking: { type: 'enabled', budget_tokens: 31_488 },
      messages: [
        ...messages.slice(0, 2),
        {
          role: 'user',
          content: [
            {
              type: 'tool_result',
              tool_use_id: 'toolu_1',
              content: [{ type: 'text', text: 'a.ts' }],
              cache_control: EPHEMERAL,
            },
          ],
        },
      ],
    });
  });
});
