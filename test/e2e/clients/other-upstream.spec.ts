import { LLMock } from '@copilotkit/aimock';
import { createApiKey, createTenant } from '../../factories/tenants';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../../support/gateway-stack';
import { type Client, type Question, WEATHER_TOOL } from './asked';
import { clientNamed, CLIENTS, connectProviders, modelOf, notingInto, PROVIDERS, RICH } from './client-stage';

const USAGE = {
  ...{ prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 },
  ...{ input_tokens: 100, output_tokens: 20 },
};
/** 100 × 2,500 + 20 × 10,000 + 10,000 */
const COST_NANO_USD = 460_000n;

describe('the clients people arrive with, over providers that others wrote', () => {
  let stack: GatewayStack;
  let key: string;
  const mock = new LLMock({ port: 0, host: '127.0.0.1' });

  beforeAll(async () => {
    mock.onMessage(/text/, { content: 'Rain, seven degrees; “São Paulo” is warmer.', usage: USAGE });
    mock.onMessage(/tool/, {
      toolCalls: [
        { name: WEATHER_TOOL, arguments: '{"city":"Berlin"}', id: 'call_1' },
        { name: WEATHER_TOOL, arguments: '{"city":"São Paulo"}', id: 'call_2' },
      ],
      usage: USAGE,
    });
    const [url] = await Promise.all([mock.start(), startGatewayStack().then((started) => (stack = started))]);
    await connectProviders(stack.gateway, url);
    ({ key } = await createApiKey(stack.gateway, await createTenant(stack.gateway, RICH)));
  }, 120_000);

  afterAll(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
    await Promise.all([stack.close(), mock.stop()]);
  });

  describe.each(PROVIDERS)('a provider %s', (provider) => {
    describe.each(CLIENTS)('%s', (name) => {
      async function ask(question: Question): Promise<Awaited<ReturnType<Client['ask']>>> {
        const traces: string[] = [];
        const reach = { url: stack.gateway.url, key, model: modelOf(provider), fetch: notingInto(traces) };
        const told = await clientNamed(name, reach).ask(question);
        expect(await stack.book.ended(traces[0] ?? '')).toMatchObject({
          ...{ status: 'COMMITTED', method: 'usage', amountNanoUsd: COST_NANO_USD, transferredNanoUsd: COST_NANO_USD },
        });
        return told;
      }

      it.each([false, true])('tells text, with streaming %s', async (isStream) => {
        const told = await ask({ prompt: 'Some text, please.', isStream });
        expect(told).toMatchObject({ text: 'Rain, seven degrees; “São Paulo” is warmer.', calls: [] });
      });

      it.each([false, true])('tells tool calls, with streaming %s', async (isStream) => {
        const { calls } = await ask({ prompt: 'Use a tool.', isStream, mayCallTools: true });
        expect(calls.map((call) => call.name)).toEqual([WEATHER_TOOL, WEATHER_TOOL]);
        expect(calls.map(({ input }) => input)).toEqual([{ city: 'Berlin' }, { city: 'São Paulo' }]);
      });
    });
  });
});
