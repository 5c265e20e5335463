/** What coding agents send by default, shortened to one of each kind of thing that they send. */

/** Claude Code: `POST /v1/messages?beta=true`. */
export function claudeCodeBody(model: string): object {
  const cached = { cache_control: { type: 'ephemeral' } };
  return {
    model,
    max_tokens: 32_000,
    stream: true,
    temperature: 1,
    metadata: { user_id: 'user_0f3a_account_9c1e_session_8f14e45f-ceea-467f-a9d1-2b6c1f0f6a11' },
    thinking: { type: 'enabled', budget_tokens: 31_999 },
    context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
    system: [
      { type: 'text', text: 'You are Claude Code, a command line tool.', ...cached },
      { type: 'text', text: 'Do what the user asks.', ...cached },
    ],
    tools: [
      {
        name: 'Bash',
        description: 'Runs a command.',
        input_schema: {
          $schema: 'http://json-schema.org/draft-07/schema#',
          type: 'object',
          properties: { command: { type: 'string' }, timeout: { type: 'number' } },
          required: ['command'],
          additionalProperties: false,
        },
      },
      { name: 'Read', description: 'Reads a file.', input_schema: { type: 'object', properties: {} }, ...cached },
    ],
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: '<system-reminder>Today is a day.</system-reminder>' },
          { type: 'text', text: 'List the files.' },
        ],
      },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'They want a list.', signature: 'c2lnbmF0dXJl' },
          { type: 'text', text: 'I look.' },
          { type: 'tool_use', id: 'toolu_1', name: 'Bash', input: { command: 'ls' } },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'toolu_1', content: 'a.txt', is_error: false },
          { type: 'text', text: '<system-reminder>Be brief.</system-reminder>', ...cached },
        ],
      },
    ],
  };
}

export const CLAUDE_CODE_HEADERS = {
  'anthropic-version': '2023-06-01',
  'anthropic-beta': 'claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27',
  'anthropic-dangerous-direct-browser-access': 'true',
  'user-agent': 'claude-cli/2.0.1 (external, cli)',
  'x-app': 'cli',
};

/** Codex CLI: `POST /v1/responses`. */
export function codexBody(model: string): object {
  const text = (role: string, type: string, said: string): object => ({
    ...{ type: 'message', role, content: [{ type, text: said }] },
  });
  return {
    model,
    instructions: 'You are a coding agent.',
    stream: true,
    store: false,
    tool_choice: 'auto',
    parallel_tool_calls: false,
    reasoning: { effort: 'medium', summary: 'auto' },
    include: ['reasoning.encrypted_content'],
    prompt_cache_key: '0199a213-81c0-7800-8aa1-bbab2a035a53',
    text: { verbosity: 'medium' },
    tools: [
      {
        type: 'function',
        name: 'shell',
        description: 'Runs a command.',
        strict: false,
        parameters: {
          type: 'object',
          properties: { command: { type: 'array', items: { type: 'string' } }, workdir: { type: 'string' } },
          required: ['command'],
          additionalProperties: false,
        },
      },
      {
        type: 'custom',
        name: 'apply_patch',
        description: 'Edits files.',
        format: { type: 'grammar', syntax: 'lark', definition: 'start: "x"' },
      },
    ],
    input: [
      text('developer', 'input_text', '<permissions>read only</permissions>'),
      text('user', 'input_text', '<environment_context><cwd>/tmp</cwd></environment_context>'),
      text('user', 'input_text', 'List the files.'),
      { type: 'reasoning', summary: [{ type: 'summary_text', text: 'They want a list.' }], encrypted_content: 'c2ln' },
      text('assistant', 'output_text', 'I look.'),
      { type: 'function_call', name: 'shell', arguments: '{"command":["ls"]}', call_id: 'call_1' },
      { type: 'function_call_output', call_id: 'call_1', output: 'a.txt' },
      {
        type: 'custom_tool_call',
        name: 'apply_patch',
        input: '*** Begin Patch',
        call_id: 'call_2',
        status: 'completed',
      },
      { type: 'custom_tool_call_output', call_id: 'call_2', output: 'done' },
    ],
  };
}

export const CODEX_HEADERS = {
  originator: 'codex_cli_rs',
  'user-agent': 'codex_cli_rs/0.50.0 (Linux; x86_64)',
  session_id: '0199a213-81c0-7800-8aa1-bbab2a035a53',
};
