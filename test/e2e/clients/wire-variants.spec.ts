import { createApiKey, createTenant } from '../../factories/tenants';
import type { Behaviour } from '../../simulator/behaviour';
import { orderProblems, sseEvents } from '../../support/answers/stream-order';
import { CONVERSATIONS, questionOf, readStream } from '../../support/answers/translated-answers';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../../support/gateway-stack';
import { connectProviders, modelOf, PROVIDERS, RICH, upstreamModelOf } from './client-stage';

const PATHS = {
  'openai-chat': '/chat/completions',
  'openai-responses': '/responses',
  'anthropic-messages': '/messages',
} as const;
const CALL = { name: 'weather', arguments: '{"city":"São Paulo"}' };
const ANSWER: Behaviour = {
  ...{ promptTokens: 1_000, completionTokens: 21, text: 'Rain “here”, seven degrees.' },
  ...{ reasoning: 'North.', reasoningTokens: 0, toolCalls: [CALL, CALL] },
};

describe('an answer, however its provider writes it on the wire', () => {
  let stack: GatewayStack;
  let key: string;

  beforeAll(async () => {
    stack = await startGatewayStack();
    await connectProviders(stack.gateway, stack.simulator.url);
    ({ key } = await createApiKey(stack.gateway, await createTenant(stack.gateway, RICH)));
  }, 120_000);

  afterAll(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
    await stack.close();
  });

  describe.each(PROVIDERS)('over a provider %s', (provider) => {
    describe.each(CONVERSATIONS)('to a client of %s', (client) => {
      async function ask(behaviour: Behaviour): Promise<{ status: number; text: string; traceId: string }> {
        stack.simulator.script(upstreamModelOf(provider), { ...ANSWER, ...behaviour });
        const response = await fetch(`${stack.gateway.url}/v1${PATHS[client]}`, {
          method: 'POST',
          headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
          body: JSON.stringify(questionOf(client, modelOf(provider), true)),
        });
        const { status } = response;
        return { status, text: await response.text(), traceId: response.headers.get('x-request-id') ?? '' };
      }

      it.each<[string, Behaviour]>([
        ['byte by byte', { sliceBytes: [1] }],
        ['with CR LF', { lineEnding: '\r\n', sliceBytes: [3, 1] }],
        ['with CR', { lineEnding: '\r' }],
        ['with comments between its frames', { comments: true }],
        ['with a field that nobody knows', { padFrameBytes: 10 }],
      ])('%s says the same, in order, and costs the same', async (_what, behaviour) => {
        const { text, traceId } = await ask(behaviour);
        const events = sseEvents(text.replaceAll(/\r\n?/g, '\n'));
        expect(orderProblems(client, events)).toEqual([]);
        expect(
          readStream(
            client,
            events.map(({ data }) => data),
          ),
        ).toMatchObject({
          ...{ text: ANSWER.text, reasoning: ANSWER.reasoning, finish: 'tool_calls' },
          calls: [CALL, CALL],
          usage: { input: 1_000, output: 21 },
        });
        expect(await stack.book.ended(traceId)).toMatchObject({ status: 'COMMITTED', amountNanoUsd: 2_720_000n });
      });

      it('without usage is counted, and is a whole answer all the same', async () => {
        const { text, traceId } = await ask({ usage: 'omitted' });
        // What passes through lacks what its provider left out.
        const isPassed = client === 'anthropic-messages' && provider === 'of Anthropic’s kind';
        expect(orderProblems(client, sseEvents(text))).toEqual(isPassed ? ['no output_tokens'] : []);
        expect(await stack.book.ended(traceId)).toMatchObject({ status: 'COMMITTED', method: 'tokenizer' });
      });
    });
  });
});
