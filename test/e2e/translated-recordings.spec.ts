import { Pool } from 'undici';
import { createApiKey, createTenant } from '../factories/tenants';
import { createPrice, createProvider, createUpstream } from '../factories/upstreams';
import { orderProblems, sseEvents } from '../support/answers/stream-order';
import {
  asReadBy,
  CONVERSATIONS,
  type Conversation,
  questionOf,
  readBody,
  readStream,
  withParsedArguments,
} from '../support/answers/translated-answers';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { RECORDED_CHARGES } from '../support/recorded-charges';
import { type RecordedCall, recordedCalls } from '../support/recorded-streams';

/** RECORDED_PRICE, as the control plane takes it. */
const PRICE = {
  input_usd_per_mtok: '0.00125',
  cached_input_usd_per_mtok: '0.000125',
  cache_write_usd_per_mtok: '0.0025',
  output_usd_per_mtok: '0.0103',
  reasoning_usd_per_mtok: '0.0127',
  per_request_usd: '0.000000007',
};
const PATHS: Readonly<Record<Conversation, string>> = {
  'openai-chat': '/v1/chat/completions',
  'openai-responses': '/v1/responses',
  'anthropic-messages': '/v1/messages',
};
/** Inside characters, line endings and frames. */
const SLICES = [1, 7, 2, 300, 3, 64, 1_000, 5];

const isConversation = (call: RecordedCall): call is RecordedCall & { dialect: Conversation } =>
  (CONVERSATIONS as readonly string[]).includes(call.dialect);
const recorded = recordedCalls()?.filter(isConversation);

if (!recorded) {
  it.skip('recorded answers through the gateway in another dialect (no recordings beside the project)', () =>
    undefined);
} else {
  const answers = recorded.filter(({ name }) => !name.includes('openai-error'));
  const errors = recorded.filter(({ name }) => name.includes('openai-error'));

  describe('recorded answers through the gateway', () => {
    let stack: GatewayStack;
    let key: string;
    let pool: Pool;

    beforeAll(async () => {
      stack = await startGatewayStack();
      const { gateway, simulator } = stack;
      for (const dialect of CONVERSATIONS) {
        const kind = dialect === 'anthropic-messages' ? 'anthropic' : 'openai';
        const provider_id = await createProvider(gateway, {
          ...{ base_url: `${simulator.url}/v1`, kind, dialects: [dialect] },
        });
        await createUpstream(gateway, { provider_id, model: `ours/${dialect}`, upstream_model: dialect });
        await createPrice(gateway, { model: `ours/${dialect}`, ...PRICE });
      }
      const rich = { initial_balance_usd: '1000', daily_quota: null, monthly_quota: null };
      ({ key } = await createApiKey(gateway, await createTenant(gateway, rich)));
      pool = new Pool(gateway.url);
    }, 120_000);

    afterAll(async () => {
      expect(await brokenInvariants(stack.gateway)).toEqual([]);
      await pool.close();
      await stack.close();
    });

    beforeEach(() => {
      stack.simulator.reset();
    });

    async function ask(
      client: Conversation,
      provider: Conversation,
      isStream: boolean,
    ): Promise<{ status: number; text: string; traceId: string }> {
      const { statusCode, headers, body } = await pool.request({
        method: 'POST',
        path: PATHS[client],
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify(questionOf(client, `ours/${provider}`, isStream)),
      });
      return { status: statusCode, text: await body.text(), traceId: String(headers['x-request-id']) };
    }

    async function expectCharge(traceId: string, { name }: RecordedCall): Promise<void> {
      const amountNanoUsd = RECORDED_CHARGES.find(([row]) => row === name)?.[2];
      expect(await stack.book.ended(traceId)).toMatchObject({
        ...{ status: 'COMMITTED', method: 'usage', amountNanoUsd, transferredNanoUsd: amountNanoUsd },
      });
    }

    describe.each(CONVERSATIONS)('to a client of %s', (client) => {
      it.each(answers.filter(({ isStream }) => isStream))('$name', async (call) => {
        const events = sseEvents(call.bytes.toString()).map(({ data }) => data);
        const said = readStream(call.dialect, events);
        const expected = client === call.dialect ? said : asReadBy(client, call.dialect, call, said);
        for (const cut of [{}, { sliceBytes: SLICES }]) {
          stack.simulator.script(call.dialect, { frames: events.filter((data) => data !== '[DONE]'), ...cut });
          const { status, text, traceId } = await ask(client, call.dialect, true);
          expect(status).toBe(200);
          const told = sseEvents(text);
          expect(
            readStream(
              client,
              told.map(({ data }) => data),
            ),
          ).toEqual(expected);
          if (client !== call.dialect) expect(orderProblems(client, told)).toEqual([]);
          await expectCharge(traceId, call);
        }
      });

      it.each(answers.filter(({ isStream }) => !isStream))('$name', async (call) => {
        const body = JSON.parse(call.bytes.toString()) as unknown;
        stack.simulator.script(call.dialect, { body: call.bytes.toString() });
        const { status, text, traceId } = await ask(client, call.dialect, false);
        expect(status).toBe(200);
        const said = readBody(call.dialect, body);
        const expected = client === call.dialect ? said : asReadBy(client, call.dialect, call, said);
        expect(withParsedArguments(readBody(client, JSON.parse(text)))).toEqual(withParsedArguments(expected));
        await expectCharge(traceId, call);
      });

      it.each(errors)('$name: an error, nothing that ends well, and no charge', async (call) => {
        const events = call.isStream ? sseEvents(call.bytes.toString()).map(({ data }) => data) : [];
        stack.simulator.script(call.dialect, call.isStream ? { frames: events } : { body: call.bytes.toString() });
        const { status, text, traceId } = await ask(client, call.dialect, call.isStream);
        expect(status).toBe(502);
        expect(text).not.toMatch(/\[DONE\]|message_stop|response\.completed/);
        expect(text).toContain('"error"');
        expect(await stack.book.ended(traceId)).toMatchObject({ status: 'VOIDED', transferredNanoUsd: 0n });
      });
    });
  });
}
