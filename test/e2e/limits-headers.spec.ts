import { createPaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { openAiClient } from '../support/openai-caller';

describe('an answered call', () => {
  let stack: GatewayStack;
  let key: string;

  beforeAll(async () => {
    stack = await startGatewayStack();
    const tenant = { daily_quota: 5, monthly_quota: null, timezone: 'UTC' };
    ({ key } = await createPaidModel(stack.gateway, { baseUrl: `${stack.simulator.url}/v1`, tenant }));
  }, 120_000);
  afterAll(() => stack.close(), 30_000);

  async function limitsOf(key: string, stream: boolean): Promise<(string | null)[]> {
    const { response } = await openAiClient(stack.gateway, key)
      .client.chat.completions.create({ model: 'test-model', messages: [{ role: 'user', content: 'Hello' }], stream })
      .withResponse();
    return ['limit', 'remaining', 'reset'].map((what) => response.headers.get(`x-ratelimit-${what}-requests`));
  }

  it('tells how many requests are left until when, whole or streamed', async () => {
    for (const [stream, remaining] of [
      [false, '4'],
      [true, '3'],
      [false, '2'],
    ] as const) {
      const untilMidnight = expect.stringMatching(/^(\d+h)?(\d+m)?\d+s$/) as string;
      expect(await limitsOf(key, stream)).toEqual(['5', remaining, untilMidnight]);
    }
  });

  it('tells nothing where there is no quota', async () => {
    const tenantId = await createTenant(stack.gateway, { daily_quota: null, monthly_quota: null });
    const unlimited = await createApiKey(stack.gateway, tenantId);
    expect(await limitsOf(unlimited.key, false)).toEqual([null, null, null]);
  });
});
