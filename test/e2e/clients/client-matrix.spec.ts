import { createApiKey, createTenant } from '../../factories/tenants';
import type { Behaviour } from '../../simulator/behaviour';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../../support/gateway-stack';
import { type Client, type Question, RESULT_OF_TOOL, type Told, WEATHER_TOOL } from './asked';
import {
  clientNamed,
  CLIENTS,
  clientsOf,
  connectProviders,
  modelOf,
  notingInto,
  PROVIDERS,
  RICH,
  upstreamModelOf,
} from './client-stage';

const USAGE = { promptTokens: 1_000, cachedTokens: 400, completionTokens: 21 };
/** 600 × 2,500 + 400 × 500 + 21 × 10,000 + 10,000 */
const COST_NANO_USD = 1_920_000n;
const TOLD_USAGE = { input: 1_000, output: 21 };

const BERLIN = { name: WEATHER_TOOL, arguments: '{"city":"Berlin"}' };
const SAO_PAULO = { name: WEATHER_TOOL, arguments: '{"city":"São Paulo"}' };
const PNG_BYTES = 67;
const IMAGE = `data:image/png;base64,${Buffer.alloc(PNG_BYTES, 7).toString('base64')}`;

describe('the clients people arrive with', () => {
  let stack: GatewayStack;
  let key: string;
  let poorKey: string;
  let hurriedKey: string;
  /** Of the answers of one test, in order. */
  let traces: string[] = [];

  beforeAll(async () => {
    stack = await startGatewayStack();
    const { gateway, simulator } = stack;
    await connectProviders(gateway, simulator.url);
    ({ key } = await createApiKey(gateway, await createTenant(gateway, RICH)));
    const poor = await createTenant(gateway, { ...RICH, initial_balance_usd: '0' });
    ({ key: poorKey } = await createApiKey(gateway, poor));
    const hurried = await createTenant(gateway, { ...RICH, rpm_limit: 1 });
    ({ key: hurriedKey } = await createApiKey(gateway, hurried));
  }, 120_000);

  afterAll(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
    await stack.close();
  });

  beforeEach(() => {
    stack.simulator.reset();
    traces = [];
  });

  it('are all in the matrix', () => {
    const reach = { url: stack.gateway.url, key, model: 'any', fetch };
    expect(clientsOf(reach).map(({ name }) => name)).toEqual(CLIENTS);
  });

  describe.each(PROVIDERS)('over a provider %s', (provider) => {
    describe.each(CLIENTS)('%s', (name) => {
      const clientWith = (apiKey: string): Client => {
        const reach = { url: stack.gateway.url, key: apiKey, model: modelOf(provider) };
        return clientNamed(name, { ...reach, fetch: notingInto(traces) });
      };

      function script(...behaviours: readonly Behaviour[]): void {
        const upstreamModel = upstreamModelOf(provider);
        stack.simulator.script(upstreamModel, ...behaviours.map((behaviour) => ({ ...USAGE, ...behaviour })));
      }

      /** Asks with a behaviour of the provider, and checks what the client tells of usage and end. */
      async function answered(
        behaviour: Behaviour,
        question: Partial<Question>,
        finish: keyof Client['finishes'] = 'stop',
      ): Promise<Told> {
        script(behaviour);
        const client = clientWith(key);
        const told = await client.ask({ prompt: 'How is the weather?', isStream: false, ...question });
        const usage = isStreamMiscounted(client, question) ? {} : { usage: TOLD_USAGE };
        expect(told).toMatchObject({ ...usage, finish: client.finishes[finish] });
        await expectCharges(1);
        return told;
      }

      /** One COMMITTED charge an answer, moved once, of the amount worked out by hand. */
      async function expectCharges(answers: number, endReason = 'complete'): Promise<void> {
        expect(traces).toHaveLength(answers);
        for (const trace of traces) {
          expect(await stack.book.ended(trace)).toMatchObject({
            status: 'COMMITTED',
            amountNanoUsd: COST_NANO_USD,
            transferredNanoUsd: COST_NANO_USD,
            method: 'usage',
            endReason,
          });
        }
      }

      const lastRequest = (): string => {
        const served = stack.simulator.served().at(-1);
        return JSON.stringify(served?.body);
      };

      describe.each([false, true])('with streaming %s', (isStream) => {
        it('tells text and usage', async () => {
          const told = await answered({ text: 'Rain, seven degrees; “São Paulo” is warmer.' }, { isStream });
          expect(told).toMatchObject({ text: 'Rain, seven degrees; “São Paulo” is warmer.', calls: [] });
        });

        it('tells a tool call', async () => {
          const told = await answered({ toolCalls: [BERLIN] }, { isStream, mayCallTools: true }, 'tool_calls');
          expect(told.calls).toMatchObject([{ name: WEATHER_TOOL, input: { city: 'Berlin' } }]);
          expect(told.calls[0]?.id).not.toBe('');
        });

        it('tells parallel tool calls', async () => {
          const behaviour = { toolCalls: [BERLIN, SAO_PAULO] };
          const { calls } = await answered(behaviour, { isStream, mayCallTools: true }, 'tool_calls');
          expect(calls.map(({ input }) => input)).toEqual([{ city: 'Berlin' }, { city: 'São Paulo' }]);
          expect(new Set(calls.map(({ id }) => id)).size).toBe(2);
        });

        it('brings back what its tools came to', async () => {
          script({ toolCalls: [BERLIN, SAO_PAULO] }, { text: 'Seven degrees in both.' });
          const client = clientWith(key);
          const question = { prompt: 'How is the weather?', isStream, mayCallTools: true };
          const first = await client.ask(question);
          const second = await client.ask({ ...question, after: first });
          expect(second).toMatchObject({ text: 'Seven degrees in both.', finish: client.finishes.stop });
          expect(lastRequest().split(RESULT_OF_TOOL)).toHaveLength(3);
          await expectCharges(2);
        });

        it('tells thoughts, and brings back what proves them', async () => {
          const thoughts = { reasoning: 'Berlin is in the north.', signature: 'c2lnbmF0dXJl', reasoningTokens: 9 };
          script({ ...thoughts, toolCalls: [BERLIN] }, { text: 'Seven degrees.' });
          const client = clientWith(key);
          const question = { prompt: 'How is the weather?', isStream, mayCallTools: true, thinks: true };
          const first = await client.ask(question);
          expect(first.reasoning).toBe(client.thoughts === 'none' ? '' : thoughts.reasoning);
          const second = await client.ask({ ...question, after: first });
          expect(second.text).toBe('Seven degrees.');
          if (client.thoughts === 'kept') expect(lastRequest()).toContain(thoughts.signature);
          await expectCharges(2);
        });

        it('tells an answer of a structure', async () => {
          const answer = { city: 'Berlin', degrees: 7 };
          const told = await answered({ json: JSON.stringify(answer) }, { isStream, isStructured: true });
          expect(JSON.parse(told.text)).toEqual(answer);
        });

        it('tells that the answer is cut at its maximum', async () => {
          const told = await answered(
            { text: 'Rain, seven', finishReason: 'length' },
            { isStream, maxTokens: 1_500 },
            'length',
          );
          expect(told.text).toBe('Rain, seven');
        });

        it('tells a refusal', async () => {
          script({ refusal: 'I would rather not.' });
          const client = clientWith(key);
          const told = await client.ask({ prompt: 'Do it.', isStream });
          // Anthropic refuses in the text.
          const isDropped = client.dropsRefusals === true && provider !== 'of Anthropic’s kind';
          const words = isDropped ? '' : 'I would rather not.';
          expect(told.refusal + told.text).toBe(words);
          await expectCharges(1);
        });

        it('sends an image', async () => {
          const told = await answered({ text: 'I see', echoesImages: true }, { isStream, image: IMAGE });
          expect(told.text).toContain(`image/png, ${PNG_BYTES} bytes`);
        });

        it('tells errors by its own classes', async () => {
          const question = { prompt: 'How is the weather?', isStream };
          script({ fail: { status: 400, message: 'no such thing' } });
          expect(await errorOf(clientWith(key).ask(question))).toEqual(errorFor(400));
          expect(await errorOf(clientWith('sk-tg-unknown').ask(question))).toEqual(errorFor(401));
          expect(await errorOf(clientWith(poorKey).ask(question))).toEqual(errorFor(402));
          script({});
          await errorOf(clientWith(hurriedKey).ask(question));
          expect(await errorOf(clientWith(hurriedKey).ask(question))).toEqual(errorFor(429));
        });
      });

      const errorFor = (status: 400 | 401 | 402 | 429): object => ({ status, name: clientWith(key).errors[status] });

      it('may leave in the middle of a stream, and pays for what the provider wrote', async () => {
        script({ tokens: 21, paceMs: 5 });
        const leaving = new AbortController();
        const asked = clientWith(key).ask({
          prompt: 'How is the weather?',
          isStream: true,
          signal: leaving.signal,
          onText: () => {
            leaving.abort();
          },
        });
        await asked.catch(() => undefined);
        await expectCharges(1, 'client_left_drained');
      });
    });
  });
});

/** It reads Anthropic's first count of input alone, which no other provider has by then, and adds the first one of output. */
function isStreamMiscounted({ name }: Client, { isStream }: Partial<Question>): boolean {
  return name === 'LangChain ChatAnthropic' && isStream === true;
}

interface ThrownError {
  readonly constructor: { readonly name: string };
  readonly name?: string;
  readonly status?: number;
  readonly statusCode?: number;
}

/** Status and class of what the client throws; undefined where it throws nothing. */
async function errorOf(asked: Promise<Told>): Promise<{ status: number | undefined; name: string } | undefined> {
  try {
    await asked;
    return undefined;
  } catch (error) {
    const { status, statusCode, name, constructor } = error as ThrownError;
    return { status: status ?? statusCode, name: name === undefined || name === 'Error' ? constructor.name : name };
  }
}
