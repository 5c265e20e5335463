import { createApiKey, createTenant } from '../factories/tenants';
import { createAnthropicProvider, createPrice, createProvider, createUpstream } from '../factories/upstreams';
import type { Behaviour } from '../simulator/behaviour';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { newKey } from '../support/keyed-call';

const ANSWER: Behaviour = { text: 'Hi there, how are you?', promptTokens: 6, completionTokens: 3 };
/** 6 × 1,000 + 3 × 2,000 nano-USD at 1 and 2 USD a million tokens. */
const ANSWER_NANO_USD = 12_000n;
const ANSWER_COMMENT = ': tollgate cost_usd=0.000012000 balance_usd=9.999988000';
const WORDS = 1_000;
const LONG: Behaviour = { text: 'word '.repeat(WORDS).trim(), promptTokens: 8, ignoresMaxTokens: true };
/** Enough for a hundred tokens and some. */
const SMALL_BALANCE = '0.0005';
const SMALL_NANO_USD = 500_000n;

const CLIENTS = {
  chat: {
    path: '/v1/chat/completions',
    body: { max_completion_tokens: 100, stream_options: { include_usage: true } },
    terminal: /^data: \[DONE\]$/,
    error: /^data: \{"error":/,
    limit: /"finish_reason":"length"/,
    text: /"content":"((?:[^"\\]|\\.)*)"/g,
  },
  responses: {
    path: '/v1/responses',
    body: { max_output_tokens: 100 },
    terminal: /^event: response\.(?:completed|incomplete)\n/,
    error: /^event: error\ndata: \{"type":"error"/,
    limit: /"reason":"max_output_tokens"/,
    text: /"type":"response\.output_text\.delta".*?"delta":"((?:[^"\\]|\\.)*)"/g,
  },
  messages: {
    path: '/v1/messages',
    body: { max_tokens: 100 },
    terminal: /^event: message_stop\n/,
    error: /^event: error\ndata: \{"type":"error"/,
    limit: /"stop_reason":"max_tokens"/,
    text: /"type":"text_delta","text":"((?:[^"\\]|\\.)*)"/g,
  },
} as const;
type Client = keyof typeof CLIENTS;

const WIRES = ['chat', 'responses', 'messages'] as const;
const PAIRS = (Object.keys(CLIENTS) as Client[]).flatMap((client) => WIRES.map((wire) => [client, wire] as const));

interface Seen {
  readonly frames: readonly string[];
  readonly body: string;
  readonly traceId: string;
  readonly headers: Headers;
}

describe('the end of a stream, in the client’s dialect and the provider’s', () => {
  let stack: GatewayStack;

  beforeAll(async () => {
    stack = await startGatewayStack([{ FREE_ALLOWANCES: 'chat=0' }]);
    const { gateway, simulator } = stack;
    const base_url = `${simulator.url}/v1`;
    const providers = {
      chat: await createProvider(gateway, { base_url, dialects: ['openai-chat'] }),
      responses: await createProvider(gateway, { base_url, dialects: ['openai-responses'] }),
      messages: await createAnthropicProvider(gateway, simulator.url),
    };
    for (const wire of WIRES) {
      await createUpstream(gateway, {
        provider_id: providers[wire],
        model: modelOf(wire),
        upstream_model: `${wire}-there`,
      });
      await createPrice(gateway, { model: modelOf(wire) });
    }
  }, 120_000);

  afterAll(() => stack.close(), 30_000);

  afterEach(async () => {
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
  });

  const modelOf = (wire: string): string => `ends-${wire}`;

  async function tenantWith(usd = '10'): Promise<{ tenantId: string; key: string }> {
    const limits = { daily_quota: null, monthly_quota: null, initial_balance_usd: usd };
    const tenantId = await createTenant(stack.gateway, limits);
    return { tenantId, key: (await createApiKey(stack.gateway, tenantId)).key };
  }

  async function stream(client: Client, wire: string, key: string, idempotencyKey = newKey()): Promise<Seen> {
    const { path, body } = CLIENTS[client];
    const prompt = client === 'responses' ? { input: 'Hello' } : { messages: [{ role: 'user', content: 'Hello' }] };
    const response = await fetch(`${stack.gateway.url}${path}`, {
      method: 'POST',
      headers: { 'x-api-key': key, 'content-type': 'application/json', 'idempotency-key': idempotencyKey },
      body: JSON.stringify({ model: modelOf(wire), stream: true, ...prompt, ...body }),
    });
    const text = await response.text();
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
    const frames = text.split('\n\n').filter(Boolean);
    return { frames, body: text, traceId: response.headers.get('x-request-id') ?? '', headers: response.headers };
  }

  function textOf(client: Client, { body }: Seen): string {
    return [...body.matchAll(CLIENTS[client].text)].map(([, text]) => JSON.parse(`"${text ?? ''}"`) as string).join('');
  }

  it.each(PAIRS)(
    '%s from %s: told after the settle, charged exactly, and the same when it is replayed',
    async (client, wire) => {
      stack.simulator.script(`${wire}-there`, { ...ANSWER, sliceBytes: [7, 100, 31] });
      const { key } = await tenantWith();
      const idempotencyKey = newKey();
      const seen = await stream(client, wire, key, idempotencyKey);
      expect(textOf(client, seen)).toBe(ANSWER.text);
      expect(seen.frames.at(-1)).toMatch(CLIENTS[client].terminal);
      expect(seen.frames.at(-2)).toBe(ANSWER_COMMENT);
      expect(seen.frames.filter((frame) => CLIENTS[client].terminal.test(frame))).toHaveLength(1);
      expect(seen.body).toContain(`"model":"${modelOf(wire)}"`);
      expect(seen.body).not.toContain(`${wire}-there`);
      expect(await stack.book.ended(seen.traceId)).toMatchObject({
        status: 'COMMITTED',
        amountNanoUsd: ANSWER_NANO_USD,
        method: 'usage',
        endReason: 'complete',
      });
      const again = await stream(client, wire, key, idempotencyKey);
      expect(again.headers.get('idempotent-replayed')).toBe('true');
      expect(again.body).toBe(seen.body);
    },
  );

  it.each(PAIRS)('%s from %s: an error is an event of its own, and no end follows', async (client, wire) => {
    stack.simulator.script(`${wire}-there`, { ...ANSWER, errorEventAt: 4 });
    const { key } = await tenantWith();
    const seen = await stream(client, wire, key);
    expect(seen.frames.at(-1)).toMatch(CLIENTS[client].error);
    expect(seen.frames.at(-1)).toContain('UPSTREAM_ERROR');
    expect(seen.frames.filter((frame) => CLIENTS[client].terminal.test(frame))).toEqual([]);
    expect(await stack.book.ended(seen.traceId)).toMatchObject({ endReason: 'upstream_error_event' });
  });

  it.each(PAIRS)('%s from %s: what the guard cuts ends as at its maximum, within the balance', async (client, wire) => {
    stack.simulator.script(`${wire}-there`, LONG);
    const { tenantId, key } = await tenantWith(SMALL_BALANCE);
    const seen = await stream(client, wire, key);
    const words = textOf(client, seen).split(' ').filter(Boolean).length;
    expect(words).toBeGreaterThan(50);
    expect(words).toBeLessThan(WORDS);
    const [why, cost, terminal] = seen.frames.slice(-3);
    expect(seen.frames.slice(-6).join('')).toMatch(CLIENTS[client].limit);
    expect(why).toBe(': tollgate stream_guard=cut limit=balance');
    expect(cost).toMatch(/^: tollgate cost_usd=0\.000\d+ balance_usd=0\.000\d+$/);
    expect(terminal).toMatch(CLIENTS[client].terminal);
    const charge = await stack.book.ended(seen.traceId);
    expect(charge).toMatchObject({ status: 'COMMITTED', endReason: 'guard_cut', reasonCode: 'BALANCE' });
    expect(charge.amountNanoUsd).toBeLessThanOrEqual(charge.holdNanoUsd);
    expect(await stack.book.walletNanoUsd(tenantId)).toBe(SMALL_NANO_USD - charge.amountNanoUsd);
  });
});
