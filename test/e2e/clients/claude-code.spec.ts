import type Anthropic from '@anthropic-ai/sdk';
import { createApiKey, createTenant } from '../../factories/tenants';
import { createAnthropicProvider, createPrice, createProvider, createUpstream } from '../../factories/upstreams';
import { anthropicClient } from '../../support/anthropic-caller';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../../support/gateway-stack';

type Asked = Anthropic.Beta.MessageCreateParamsNonStreaming;
type Block = Anthropic.Beta.BetaContentBlock;

const EPHEMERAL = { type: 'ephemeral' } as const;
const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

/** As Claude Code asks by itself, shortened: also over providers that are not of Anthropic. */
const ASKED: Omit<Asked, 'model' | 'messages'> = {
  max_tokens: 32_000,
  system: [
    { type: 'text', text: 'x-anthropic-billing-header: cc_version=2.1.175.0d9; cc_entrypoint=cli; cch=fa690;' },
    { type: 'text', text: 'You are Claude Code.', cache_control: EPHEMERAL },
    { type: 'text', text: 'Work in /repo.', cache_control: EPHEMERAL },
  ],
  tools: [
    {
      name: 'Bash',
      description: 'Runs a command',
      input_schema: {
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        type: 'object',
        properties: { command: { type: 'string' } },
        required: ['command'],
        additionalProperties: false,
      },
      cache_control: EPHEMERAL,
    },
    { name: 'Read', description: 'Reads a file', input_schema: { type: 'object', properties: {} } },
  ],
  thinking: { type: 'enabled', budget_tokens: 31_999 },
  context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
  output_config: { effort: 'high' },
  metadata: { user_id: `user_${'0a'.repeat(32)}_account__session_0b5f7a3e-5b3a-4c3e-9d1e-3f1a2b4c5d6e` },
  betas: ['claude-code-20250219', 'interleaved-thinking-2025-05-14', 'context-management-2025-06-27'],
};
/** The client no longer knows it, and the CLI sends it. */
const SAMPLING = { temperature: 1 };
const OPENING: Asked['messages'] = [
  {
    role: 'user',
    content: [
      { type: 'text', text: '<system-reminder>CLAUDE.md</system-reminder>' },
      { type: 'text', text: 'List and look', cache_control: EPHEMERAL },
    ],
  },
];

const PROVIDERS = ['of chat alone', 'of responses alone', 'of Anthropic’s kind'] as const;
type ProviderName = (typeof PROVIDERS)[number];

describe('Claude Code', () => {
  let stack: GatewayStack;
  let client: Anthropic;

  const modelOf = (provider: ProviderName): string => `claude-sonnet-4-5-${provider.replace(/\W+/g, '-')}`;

  beforeAll(async () => {
    stack = await startGatewayStack();
    const { gateway, simulator } = stack;
    const providers: Record<ProviderName, string> = {
      'of chat alone': await createProvider(gateway, { base_url: `${simulator.url}/v1` }),
      'of responses alone': await createProvider(gateway, {
        base_url: `${simulator.url}/v1`,
        dialects: ['openai-responses'],
      }),
      'of Anthropic’s kind': await createAnthropicProvider(gateway, simulator.url),
    };
    for (const provider of PROVIDERS) {
      const model = modelOf(provider);
      await createUpstream(gateway, { provider_id: providers[provider], model, upstream_model: `sim-${model}` });
      await createPrice(gateway, { model, input_usd_per_mtok: '3', output_usd_per_mtok: '15' });
    }
    const { key } = await createApiKey(gateway, await createTenant(gateway, { initial_balance_usd: '100' }));
    ({ client } = anthropicClient(gateway, key, { maxRetries: 0, isBearer: true }));
  }, 120_000);

  afterAll(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
    await stack.close();
  });

  const ask = (provider: ProviderName, messages: Asked['messages']): Promise<Anthropic.Beta.BetaMessage> =>
    client.beta.messages
      .stream({ model: modelOf(provider), ...ASKED, messages }, { query: { beta: 'true' } })
      .finalMessage();

  const sentLast = (): string => stack.simulator.served().at(-1)?.body ?? '';

  it.each(PROVIDERS)(
    'thinks, calls tools side by side and reads what they bring over a provider %s',
    async (provider) => {
      stack.simulator.script(
        `sim-${modelOf(provider)}`,
        {
          reasoning: 'List, then look.',
          signature: 'c2ln',
          toolCalls: [
            { name: 'Bash', arguments: '{"command":"ls"}' },
            { name: 'Read', arguments: '{}' },
          ],
          promptTokens: 2_000,
          cachedTokens: 1_500,
        },
        { text: 'One pixel.' },
      );
      const first = await ask(provider, OPENING);
      expect(first).toMatchObject({
        model: modelOf(provider),
        stop_reason: 'tool_use',
        content: [
          { type: 'thinking', thinking: 'List, then look.', signature: 'c2ln' },
          { type: 'tool_use', name: 'Bash', input: { command: 'ls' } },
          { type: 'tool_use', name: 'Read', input: {} },
        ],
        usage: { input_tokens: 500, cache_read_input_tokens: 1_500 },
      });

      const [bash, read] = first.content.filter(isToolUse);
      const results: Asked['messages'] = [
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: bash?.id ?? '', content: 'pixel.png', is_error: false },
            {
              type: 'tool_result',
              tool_use_id: read?.id ?? '',
              content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: PIXEL } }],
            },
            { type: 'text', text: '<system-reminder>Be brief.</system-reminder>', cache_control: EPHEMERAL },
          ],
        },
      ];
      const history = { role: 'assistant', content: first.content } as Asked['messages'][number];
      const second = await ask(provider, [...OPENING, history, ...results]);
      expect(second.content).toMatchObject([{ type: 'text', text: 'One pixel.' }]);
      expect(second.stop_reason).toBe('end_turn');
      for (const said of ['You are Claude Code.', 'List and look', 'c2ln', 'pixel.png', PIXEL, 'Be brief.']) {
        expect(sentLast()).toContain(said);
      }
      // It changes with every request and means nothing to others: none of them could cache what follows.
      expect(sentLast().includes('x-anthropic-billing-header')).toBe(provider === 'of Anthropic’s kind');
    },
  );

  it('goes on over Anthropic with a conversation that began over another provider', async () => {
    const [chat, anthropic] = ['of chat alone', 'of Anthropic’s kind'] as const;
    stack.simulator.script(`sim-${modelOf(chat)}`, {
      reasoning: 'Nobody signed this.',
      toolCalls: [{ name: 'Bash', arguments: '{"command":"ls"}' }],
    });
    stack.simulator.script(`sim-${modelOf(anthropic)}`, { text: 'Done.' });
    const { content } = await ask(chat, OPENING);
    expect(content[0]).toMatchObject({ type: 'thinking', thinking: 'Nobody signed this.', signature: '' });
    const tool_use_id = content.find(isToolUse)?.id ?? '';
    const result = { role: 'user' as const, content: [{ type: 'tool_result' as const, tool_use_id, content: 'a.ts' }] };
    const history = { role: 'assistant', content } as Asked['messages'][number];
    expect((await ask(anthropic, [...OPENING, history, result])).content).toMatchObject([
      { type: 'text', text: 'Done.' },
    ]);
    expect(sentLast()).not.toContain('Nobody signed this.');
  });

  it.each(PROVIDERS)('asks for short answers in between over a provider %s', async (provider) => {
    stack.simulator.script(`sim-${modelOf(provider)}`, { json: '{"title":"Pixels"}' });
    const schema = {
      type: 'object',
      properties: { title: { type: 'string' } },
      required: ['title'],
      additionalProperties: false,
    };
    const message = await client.beta.messages.create({
      model: modelOf(provider),
      max_tokens: 500,
      system: [{ type: 'text', text: 'Name the conversation.' }],
      messages: [{ role: 'user', content: 'List and look' }],
      thinking: { type: 'disabled' },
      output_config: { format: { type: 'json_schema', schema } },
      tools: [],
      ...SAMPLING,
      ...(ASKED.metadata ? { metadata: ASKED.metadata } : {}),
    });
    expect(message.content).toMatchObject([{ type: 'text', text: '{"title":"Pixels"}' }]);
  });
});

function isToolUse(block: Block): block is Anthropic.Beta.BetaToolUseBlock {
  return block.type === 'tool_use';
}
