import type { JsonObject } from '../../../src/kernel/json-object';
import { createApiKey, createTenant } from '../../factories/tenants';
import {
  createAnthropicProvider,
  createOpenAiProvider,
  createPrice,
  createProvider,
  createUpstream,
} from '../../factories/upstreams';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../../support/gateway-stack';

const PATCH = '*** Begin Patch\n*** Update File: a.ts\n+"x"\n*** End Patch\n';
const MODEL = 'gpt-5.1-codex';

/** As the Codex CLI asks by itself, shortened: also over providers that know neither its tools nor OpenAI. */
const ASKED = {
  instructions: 'You are Codex, a coding agent.',
  tools: [
    {
      type: 'function',
      name: 'exec_command',
      description: 'Runs',
      strict: false,
      parameters: { type: 'object', properties: {} },
    },
    {
      type: 'custom',
      name: 'apply_patch',
      description: 'Patches files',
      format: { type: 'grammar', syntax: 'lark', definition: 'start: "*** Begin Patch"' },
    },
    {
      type: 'namespace',
      name: 'mcp__crm__',
      description: 'Customers',
      tools: [
        {
          type: 'function',
          name: 'find',
          description: 'Finds',
          strict: false,
          parameters: { type: 'object', properties: {} },
        },
      ],
    },
    { type: 'web_search', external_web_access: false },
  ],
  tool_choice: 'auto',
  parallel_tool_calls: true,
  reasoning: { effort: 'medium', summary: 'auto' },
  store: false,
  stream: true,
  include: ['reasoning.encrypted_content'],
  prompt_cache_key: '019a7c6e-2f0e-7d00-8000-000000000000',
  text: { verbosity: 'medium' },
  client_metadata: { 'x-codex-installation-id': 'i' },
};
const OPENING = [
  { type: 'message', role: 'developer', content: [{ type: 'input_text', text: '<permissions instructions>' }] },
  { type: 'message', role: 'user', content: [{ type: 'input_text', text: '<environment_context/>' }] },
  { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Fix it' }] },
];

const PROVIDERS = ['of chat alone', 'of OpenAI’s kind', 'of Anthropic’s kind'] as const;
type ProviderName = (typeof PROVIDERS)[number];

describe('the Codex CLI', () => {
  let stack: GatewayStack;
  let key: string;

  const slugOf = (provider: ProviderName): string => provider.replace(/\W+/g, '-');

  beforeAll(async () => {
    stack = await startGatewayStack();
    const { gateway, simulator } = stack;
    const providers: Record<ProviderName, string> = {
      'of chat alone': await createProvider(gateway, { base_url: `${simulator.url}/v1` }),
      'of OpenAI’s kind': await createOpenAiProvider(gateway, simulator.url),
      'of Anthropic’s kind': await createAnthropicProvider(gateway, simulator.url),
    };
    for (const provider of PROVIDERS) {
      const model = `${MODEL}-${slugOf(provider)}`;
      const upstream_model = `sim-${slugOf(provider)}`;
      await createUpstream(gateway, { provider_id: providers[provider], model, upstream_model });
      await createPrice(gateway, { model, input_usd_per_mtok: '2.5', output_usd_per_mtok: '10' });
    }
    ({ key } = await createApiKey(gateway, await createTenant(gateway, { initial_balance_usd: '100' })));
  }, 120_000);

  afterAll(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
    await stack.close();
  });

  /** The events of one answer, as the CLI reads them. */
  async function ask(provider: ProviderName, input: readonly object[]): Promise<JsonObject[]> {
    const response = await fetch(`${stack.gateway.url}/v1/responses`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        accept: 'text/event-stream',
        originator: 'codex_cli_rs',
        'session-id': ASKED.prompt_cache_key,
      },
      body: JSON.stringify({ model: `${MODEL}-${slugOf(provider)}`, ...ASKED, input }),
    });
    const text = await response.text();
    if (response.status !== 200) throw new Error(text);
    return text
      .split('\n')
      .filter((line) => line.startsWith('data: '))
      .map((line) => JSON.parse(line.slice('data: '.length)) as JsonObject);
  }

  it.each(PROVIDERS)('patches files, calls tools of a server and thinks over a provider %s', async (provider) => {
    const knowsCustom = provider === 'of OpenAI’s kind';
    stack.simulator.script(
      `sim-${slugOf(provider)}`,
      {
        reasoning: 'It is in a.ts.',
        signature: 'c2ln',
        toolCalls: [
          { name: 'apply_patch', arguments: knowsCustom ? PATCH : JSON.stringify({ input: PATCH }) },
          { name: knowsCustom ? 'find' : 'mcp__crm__find', arguments: '{"name":"Ann"}' },
        ],
      },
      { text: 'Fixed.' },
    );
    const first = await ask(provider, OPENING);
    const items = first
      .filter(({ type }) => type === 'response.output_item.done')
      .map(({ item }) => item as JsonObject);
    expect(items).toMatchObject([
      { type: 'reasoning', summary: [{ text: 'It is in a.ts.' }], encrypted_content: 'c2ln' },
      { type: 'custom_tool_call', name: 'apply_patch', input: PATCH },
      knowsCustom
        ? { type: 'function_call', name: 'find', arguments: '{"name":"Ann"}' }
        : { type: 'function_call', name: 'find', namespace: 'mcp__crm__', arguments: '{"name":"Ann"}' },
    ]);
    expect(first.at(-1)).toMatchObject({ type: 'response.completed', response: { status: 'completed' } });

    const outputs = items
      .filter(({ call_id }) => call_id !== undefined)
      .map(({ type, call_id }) => ({ type: `${String(type)}_output`, call_id, output: `done ${String(type)}` }));
    const second = await ask(provider, [...OPENING, ...items, ...outputs]);
    expect(
      second
        .filter(({ type }) => type === 'response.output_text.delta')
        .map(({ delta }) => delta)
        .join(''),
    ).toBe('Fixed.');
    const sent = JSON.stringify(stack.simulator.served().at(-1)?.body);
    for (const said of ['done custom_tool_call', 'done function_call', 'c2ln', '*** Begin Patch', 'Ann']) {
      expect(sent).toContain(said);
    }
  });
});
