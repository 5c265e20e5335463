import type { JsonObject } from '../../../kernel/json-object';
import { isRefusal } from '../invalid-request';
import type { NeutralRequest } from '../neutral/neutral-request';
import { parseResponsesRequest } from './responses-request';
import { responsesToNeutral } from './to-neutral';

function read(body: JsonObject): NeutralRequest | { readonly refused: string | undefined } {
  const request = parseResponsesRequest(Buffer.from(JSON.stringify({ model: 'm', input: 'Hi', ...body })));
  if (isRefusal(request)) throw new Error(JSON.stringify(request));
  const neutral = responsesToNeutral(request);
  return isRefusal(neutral) ? { refused: neutral.param } : neutral;
}

const PIXEL = 'data:image/png;base64,iVBORw0KGgo=';

describe('a request for a response in no dialect', () => {
  it('is one message of the user where the input is a text', () => {
    expect(
      read({ instructions: 'Be brief', stream: true, max_output_tokens: 9, temperature: 0.5, top_p: 0.9 }),
    ).toEqual({
      model: 'm',
      stream: true,
      instructions: [{ type: 'text', text: 'Be brief' }],
      messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }],
      tools: [],
      maxOutputTokens: 9,
      temperature: 0.5,
      topP: 0.9,
      stopSequences: [],
      openAiOptions: {},
      names: { outputFormat: 'text.format', verbosity: 'text.verbosity', endUser: 'safety_identifier' },
    });
  });

  it('puts items of one turn into one message, and what stands before the conversation before it', () => {
    const input = [
      { type: 'message', role: 'developer', content: [{ type: 'input_text', text: 'Rules' }] },
      { role: 'system', content: 'More' },
      { role: 'user', content: 'Weather?' },
      { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'Hm' }], encrypted_content: 'c2ln' },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Looking', annotations: [] }] },
      { type: 'function_call', call_id: 'a', name: 'weather', arguments: '{"city":"Rome"}' },
      { type: 'function_call', call_id: 'b', name: 'now', arguments: '' },
      { type: 'function_call_output', call_id: 'a', output: 'sunny' },
      { type: 'function_call_output', call_id: 'b', output: [{ type: 'input_image', image_url: PIXEL }] },
      { role: 'developer', content: 'Hurry' },
      { role: 'user', content: 'And?' },
    ];
    const neutral = read({ input });
    expect(neutral).toMatchObject({
      instructions: [
        { type: 'text', text: 'Rules' },
        { type: 'text', text: 'More' },
      ],
    });
    expect('messages' in neutral ? neutral.messages : neutral).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'Weather?' }] },
      {
        role: 'assistant',
        content: [
          { type: 'reasoning', text: 'Hm', signature: 'c2ln', id: 'rs_1', path: 'input[3]' },
          { type: 'text', text: 'Looking' },
          {
            type: 'tool_call',
            kind: 'function',
            callId: 'a',
            name: 'weather',
            arguments: '{"city":"Rome"}',
            path: 'input[5]',
          },
          { type: 'tool_call', kind: 'function', callId: 'b', name: 'now', arguments: '{}', path: 'input[6]' },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', callId: 'a', content: [{ type: 'text', text: 'sunny' }], path: 'input[7]' },
          {
            type: 'tool_result',
            callId: 'b',
            content: [
              {
                type: 'image',
                source: { type: 'base64', mediaType: 'image/png', data: 'iVBORw0KGgo=' },
                path: 'input[8].output[0]',
              },
            ],
            path: 'input[8]',
          },
        ],
      },
      { role: 'system', content: [{ type: 'text', text: 'Hurry' }], path: 'input[9]' },
      { role: 'user', content: [{ type: 'text', text: 'And?' }] },
    ]);
  });

  it('knows images, files and recordings, sent, named or kept by the provider', () => {
    const content = [
      { type: 'input_image', image_url: 'https://a.example/a.png', detail: 'low' },
      { type: 'input_image', file_id: 'file-1' },
      { type: 'input_file', file_data: 'data:application/pdf;base64,AAAA', filename: 'a.pdf' },
      { type: 'input_file', file_data: 'AAAA', filename: 'notes.TXT' },
      { type: 'input_file', file_url: 'https://a.example/b.pdf' },
      { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
    ];
    const neutral = read({ input: [{ role: 'user', content }] });
    const at = (part: number): object => ({ path: `input[0].content[${part}]` });
    expect('messages' in neutral ? neutral.messages[0]?.content : neutral).toEqual([
      { type: 'image', source: { type: 'url', url: 'https://a.example/a.png' }, detail: 'low', ...at(0) },
      { type: 'image', source: { type: 'file', fileId: 'file-1' }, ...at(1) },
      {
        type: 'document',
        source: { type: 'base64', mediaType: 'application/pdf', data: 'AAAA' },
        filename: 'a.pdf',
        ...at(2),
      },
      {
        type: 'document',
        source: { type: 'base64', mediaType: 'text/plain', data: 'AAAA' },
        filename: 'notes.TXT',
        ...at(3),
      },
      { type: 'document', source: { type: 'url', url: 'https://a.example/b.pdf' }, ...at(4) },
      { type: 'audio', data: 'AAAA', format: 'wav', ...at(5) },
    ]);
  });

  it('tells thoughts that nobody can read from proofs of those that somebody can', () => {
    const input = [
      { role: 'user', content: 'Hi' },
      { type: 'reasoning', summary: [], encrypted_content: 'redacted:secret' },
      { type: 'reasoning', summary: [], encrypted_content: 'gAAAA' },
      { type: 'reasoning', summary: [{ text: 'short' }], content: [{ type: 'reasoning_text', text: 'long' }] },
      { type: 'reasoning', summary: [] },
    ];
    const neutral = read({ input });
    expect('messages' in neutral ? neutral.messages[1]?.content : neutral).toEqual([
      { type: 'reasoning', text: '', signature: 'secret', isRedacted: true, path: 'input[1]' },
      { type: 'reasoning', text: '', signature: 'gAAAA', path: 'input[2]' },
      { type: 'reasoning', text: 'long', path: 'input[3]' },
    ]);
  });

  it('reads tools, their namespaces, and which of them may be called', () => {
    const parameters = { type: 'object', properties: {} };
    const tools = [
      { type: 'function', name: 'weather', description: 'Says it', parameters, strict: true },
      { type: 'custom', name: 'sql', format: { type: 'grammar', syntax: 'regex', definition: '.+' } },
      {
        type: 'namespace',
        name: 'crm',
        description: 'Customers',
        tools: [
          { type: 'function', name: 'list', description: 'Lists', parameters, defer_loading: true },
          { type: 'function', name: 'get', parameters: null, strict: null },
        ],
      },
    ];
    const allowed = [
      { type: 'function', name: 'weather' },
      { type: 'function', name: 'get', namespace: 'crm' },
    ];
    const neutral = read({ tools, parallel_tool_calls: false, tool_choice: { type: 'function', name: 'weather' } });
    expect(neutral).toMatchObject({ toolChoice: { type: 'tool', name: 'weather' }, parallelToolCalls: false });
    expect('tools' in neutral ? neutral.tools : neutral).toEqual([
      { type: 'function', name: 'weather', description: 'Says it', parameters, strict: true, path: 'tools[0]' },
      { type: 'custom', name: 'sql', format: tools[1]?.format, path: 'tools[1]' },
      { type: 'function', name: 'crm__list', description: 'Customers\n\nLists', parameters, path: 'tools[2].tools[0]' },
      { type: 'function', name: 'crm__get', path: 'tools[2].tools[1]' },
    ]);
    expect(read({ tools, tool_choice: { type: 'allowed_tools', mode: 'required', tools: allowed } })).toMatchObject({
      tools: [{ name: 'weather' }, { name: 'crm__get' }],
      toolChoice: { type: 'required' },
    });
  });

  it('reads how the answer is to be', () => {
    const schema = { type: 'object' };
    const format = { type: 'json_schema', name: 'city', description: 'A city', schema, strict: true };
    expect(read({ text: { format, verbosity: 'low' }, reasoning: { effort: 'high', summary: 'auto' } })).toMatchObject({
      outputFormat: format,
      verbosity: 'low',
      reasoning: { effort: 'high', summary: 'auto' },
    });
    expect(read({ text: { format: { type: 'json_object' } } })).toMatchObject({
      outputFormat: { type: 'json_object' },
    });
    expect(read({ text: { format: { type: 'text' } } })).not.toHaveProperty('outputFormat');
    expect(read({ user: 'ann', safety_identifier: 'x', service_tier: 'flex' })).toMatchObject({
      ...{ endUser: 'ann', serviceTier: 'flex', names: { endUser: 'user' } },
    });
    expect(read({ safety_identifier: 'x' })).toMatchObject({ endUser: 'x', names: { endUser: 'safety_identifier' } });
  });

  it('takes what Codex CLI sends by itself', () => {
    const codex = {
      model: 'gpt-5.1-codex',
      instructions: 'You are Codex.',
      input: [
        { type: 'message', role: 'developer', content: [{ type: 'input_text', text: '<permissions/>' }] },
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Fix it' }] },
        {
          type: 'reasoning',
          summary: [{ type: 'summary_text', text: 'I look' }],
          content: null,
          encrypted_content: 'gA',
        },
        { type: 'function_call', name: 'exec_command', arguments: '{"cmd":"ls"}', call_id: 'call_1' },
        { type: 'function_call_output', call_id: 'call_1', output: 'a.ts' },
        { type: 'custom_tool_call', status: 'completed', call_id: 'call_2', name: 'apply_patch', input: '*** Begin' },
        { type: 'custom_tool_call_output', call_id: 'call_2', output: 'Done' },
        { type: 'message', role: 'assistant', phase: 'commentary', content: [{ type: 'output_text', text: 'Done.' }] },
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Thanks' }] },
      ],
      tools: [
        { type: 'function', name: 'exec_command', description: 'Runs', strict: false, parameters: { type: 'object' } },
        {
          type: 'custom',
          name: 'apply_patch',
          description: 'Patches',
          format: { type: 'grammar', syntax: 'lark', definition: 'start: "x"' },
        },
        { type: 'web_search', external_web_access: false },
      ],
      ...{ tool_choice: 'auto', parallel_tool_calls: true, reasoning: { effort: 'medium', summary: 'auto' } },
      ...{ store: false, stream: true, include: ['reasoning.encrypted_content'], prompt_cache_key: '0199' },
      ...{ text: { verbosity: 'medium' }, client_metadata: { 'x-codex-installation-id': 'i' } },
    };
    expect(read(codex)).toMatchObject({
      tools: [{ name: 'exec_command' }, { name: 'apply_patch', type: 'custom' }],
      toolChoice: { type: 'auto' },
      openAiOptions: {},
    });
  });

  it('takes what changes nothing here', () => {
    const hints = {
      ...{ store: true, metadata: { a: 'b' }, stream_options: { include_obfuscation: false }, max_tool_calls: 3 },
      ...{ prompt_cache_key: 'k', prompt_cache_retention: '24h', truncation: 'disabled', top_logprobs: 0 },
      ...{ background: false, previous_response_id: null, conversation: null, prompt: null, include: [] },
    };
    expect(read(hints)).not.toHaveProperty('refused');
  });

  const user = (...content: object[]): object => ({ input: [{ role: 'user', content }] });
  it.each<[string, object, string]>([
    ['an unknown field', { moderation: { model: 'x' } }, 'moderation'],
    ['a field of chat', { stop: ['x'] }, 'stop'],
    ['compaction', { context_management: [{ type: 'compaction' }] }, 'context_management'],
    ['truncation', { truncation: 'auto' }, 'truncation'],
    ['logprobs', { top_logprobs: 3 }, 'top_logprobs'],
    ['logprobs by include', { include: ['message.output_text.logprobs'] }, 'include[0]'],
    ['a stored item', { input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input[0]'],
    ['a stored item without a type', { input: [{ id: 'msg_1' }] }, 'input[0]'],
    [
      "a provider's own item",
      { input: [{ type: 'web_search_call', id: 'ws_1', status: 'completed' }] },
      'input[0].type',
    ],
    ['a compacted past', { input: [{ type: 'compaction', encrypted_content: 'x' }] }, 'input[0].type'],
    ['an unknown role', { input: [{ role: 'tool', content: 'x' }] }, 'input[0].role'],
    ['an unknown part', user({ type: 'input_video' }), 'input[0].content[0].type'],
    ['an image that is nowhere', user({ type: 'input_image' }), 'input[0].content[0].image_url'],
    ['an odd data URL', user({ type: 'input_image', image_url: 'data:oops' }), 'input[0].content[0].image_url'],
    ['a call without an id', { input: [{ type: 'function_call', name: 'f', arguments: '{}' }] }, 'input[0].call_id'],
    ['a call without a name', { input: [{ type: 'function_call', call_id: 'c', arguments: '{}' }] }, 'input[0].name'],
    ['a call without input', { input: [{ type: 'custom_tool_call', call_id: 'c', name: 'f' }] }, 'input[0].input'],
    ['an output without an id', { input: [{ type: 'function_call_output', output: 'x' }] }, 'input[0].call_id'],
    ['a web search', { tools: [{ type: 'function', name: 'f' }, { type: 'web_search' }] }, 'tools[1]'],
    ['an MCP server', { tools: [{ type: 'mcp', server_label: 'x' }] }, 'tools[0]'],
    ['a shell', { tools: [{ type: 'local_shell' }] }, 'tools[0]'],
    ['a search for tools', { tools: [{ type: 'tool_search' }] }, 'tools[0]'],
    ['a tool of the chat API', { tools: [{ type: 'function', function: { name: 'f' } }] }, 'tools[0].function'],
    [
      'a tool that code calls',
      { tools: [{ type: 'function', name: 'f', allowed_callers: ['programmatic'] }] },
      'tools[0].allowed_callers',
    ],
    ['a choice of such a tool', { tool_choice: { type: 'web_search' } }, 'tool_choice.type'],
    [
      'an allowed tool that is none',
      { tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'f' }] } },
      'tool_choice.tools[0]',
    ],
    ['an odd choice', { tool_choice: 'maybe' }, 'tool_choice'],
    ['an unknown format', { text: { format: { type: 'xml' } } }, 'text.format.type'],
    ['a schema that is none', { text: { format: { type: 'json_schema', name: 'x' } } }, 'text.format.schema'],
    ['an unknown text option', { text: { tone: 'warm' } }, 'text.tone'],
    ['an unknown way to think', { reasoning: { mode: 'pro' } }, 'reasoning.mode'],
    ['an odd effort', { reasoning: { effort: 3 } }, 'reasoning.effort'],
    ['an odd temperature', { temperature: 'hot' }, 'temperature'],
    ['an odd user', { user: 7 }, 'user'],
    ['an odd flag', { parallel_tool_calls: 'no' }, 'parallel_tool_calls'],
  ])('refuses %s by the name that the client has for it', (_, body, field) => {
    expect(read({ ...body })).toEqual({ refused: field });
  });
});
