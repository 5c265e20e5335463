import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import { createPrice, createUpstream } from '../factories/upstreams';
import type { Behaviour } from '../simulator/behaviour';
import { readEvents } from '../support/assembled-answer';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { openAiSchemas } from '../support/openai-schemas';
import { recordedChatBodies, recordedChatStreams } from '../support/recorded-streams';

const schemas = openAiSchemas();
const MESSAGES = [{ role: 'user', content: 'Hello' }];
const TOOL_CALLS = [
  { name: 'weather', arguments: '{"city":"Berlin"}' },
  { name: 'weather', arguments: '{"city":"Oslo"}' },
];

interface Refused {
  readonly what: string;
  readonly status: number;
  readonly code: string;
  readonly path?: string;
  readonly method?: string;
  /** Replaces the tenant's own. */
  readonly key?: string;
  readonly body?: string;
  readonly contentType?: string;
  /** Merged into a good request. */
  readonly more?: object;
}

const REFUSED: readonly Refused[] = [
  { what: 'a body that is no JSON', status: 400, code: 'INVALID_REQUEST', body: '{"model":' },
  { what: 'an empty body', status: 400, code: 'INVALID_REQUEST', body: '' },
  { what: 'messages that are no list', status: 400, code: 'INVALID_REQUEST', more: { messages: 'Hello' } },
  { what: 'an n that is no number', status: 400, code: 'INVALID_REQUEST', more: { n: 'two' } },
  { what: 'a model without a price', status: 400, code: 'MODEL_NOT_PRICED', more: { model: 'unpriced' } },
  { what: 'a request the provider refuses', status: 422, code: 'UPSTREAM_REJECTED', more: failing(422) },
  { what: 'no key', status: 401, code: 'INVALID_API_KEY', key: '' },
  { what: 'an unknown key', status: 401, code: 'INVALID_API_KEY', key: 'sk-tg-unknown' },
  { what: 'an unknown key that lists models', status: 401, code: 'INVALID_API_KEY', key: 'x', path: '/v1/models' },
  { what: 'an empty wallet', status: 402, code: 'QUOTA_BALANCE_EXCEEDED', key: 'poor' },
  { what: 'an unknown model', status: 404, code: 'MODEL_NOT_FOUND', more: { model: 'unknown' } },
  { what: 'an unknown model that is retrieved', status: 404, code: 'MODEL_NOT_FOUND', path: '/v1/models/unknown' },
  { what: 'a path that does not exist', status: 404, code: 'NOT_FOUND', path: '/v1/nothing' },
  { what: 'a method that does not exist', status: 405, code: 'METHOD_NOT_ALLOWED', method: 'DELETE' },
  { what: 'a body that is no JSON by its type', status: 415, code: 'UNSUPPORTED_MEDIA_TYPE', contentType: 'text/csv' },
  { what: 'a used up day', status: 429, code: 'QUOTA_DAILY_EXCEEDED', key: 'spent' },
  { what: 'a provider at its limit', status: 429, code: 'UPSTREAM_RATE_LIMITED', more: failing(429) },
  { what: 'a provider that fails', status: 502, code: 'UPSTREAM_ERROR', more: failing(500) },
  { what: 'a provider that is too slow', status: 504, code: 'UPSTREAM_TIMEOUT', more: failing(504) },
  { what: 'a model that is switched off', status: 503, code: 'NO_UPSTREAM_AVAILABLE', more: { model: 'switched-off' } },
];

const ANSWERS: readonly { what: string; behaviour: Behaviour; more?: object }[] = [
  { what: 'a text', behaviour: {} },
  { what: 'two choices', behaviour: { tokens: 5 }, more: { n: 2 } },
  { what: 'parallel tool calls', behaviour: { toolCalls: TOOL_CALLS } },
  { what: 'a text that is cut at its limit', behaviour: { tokens: 9 }, more: { max_completion_tokens: 3 } },
  { what: 'reasoning and cached input', behaviour: { reasoningTokens: 40, promptTokens: 90, cachedTokens: 64 } },
  { what: 'no usage', behaviour: { usage: 'omitted' } },
  { what: 'usage on the finish chunk', behaviour: { usage: 'on_finish' } },
  { what: 'usage on every chunk', behaviour: { usage: 'repeated' } },
];

if (!schemas) {
  it.skip('what is sent is valid by OpenAI’s own description (it does not lie beside the project)', () => undefined);
} else {
  describe('by OpenAI’s own description of its API', () => {
    let stack: GatewayStack;
    let paid: PaidModel;
    const keys: Record<string, string> = {};

    beforeAll(async () => {
      stack = await startGatewayStack();
      const { gateway } = stack;
      paid = await createPaidModel(gateway, {
        baseUrl: `${stack.simulator.url}/v1`,
        model: 'ours',
        ...aliased('theirs'),
      });
      const provider = { provider_id: paid.providerId };
      await createUpstream(gateway, { ...provider, model: 'unpriced' });
      await createUpstream(gateway, { ...provider, model: 'switched-off', ...{ enabled: false } });
      await createPrice(gateway, { model: 'switched-off' });
      keys.poor = (await createApiKey(gateway, await createTenant(gateway, { initial_balance_usd: '0' }))).key;
      keys.spent = (await createApiKey(gateway, await createTenant(gateway, { daily_quota: 0 }))).key;
    }, 120_000);

    afterAll(() => stack.close());

    afterEach(async () => {
      stack.simulator.reset();
      expect(await brokenInvariants(stack.gateway)).toEqual([]);
    });

    it('a chunk without its finish reason, an error without its code and a model without a name are refused', () => {
      const chunk = {
        id: 'x',
        object: 'chat.completion.chunk',
        created: 1,
        model: 'm',
        choices: [{ index: 0, delta: {} }],
      };
      expect(schemas.problemsOf('CreateChatCompletionStreamResponse', chunk)).not.toEqual([]);
      expect(schemas.problemsOf('ErrorResponse', { error: { message: 'm', type: 't', param: null } })).not.toEqual([]);
      expect(schemas.problemsOf('Model', { object: 'model', created: 1, owned_by: 'x' })).not.toEqual([]);
    });

    describe.each(['en-US', 'zh-CN'])('in %s', (language) => {
      it.each(REFUSED)('the error for $what is valid: $status $code', async ({ status, code, ...call }) => {
        const response = await request({ ...call, headers: { 'accept-language': language } });
        const answer = (await response.json()) as { error?: { code?: string; message?: string } };
        expect({ status: response.status, code: answer.error?.code }).toEqual({ status, code });
        expect(schemas.problemsOf('ErrorResponse', answer)).toEqual([]);
        expect(/\p{Script=Han}/u.test(answer.error?.message ?? '')).toBe(language === 'zh-CN');
        expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
        // The description of a 429: an integer, at least 1.
        expect(response.headers.get('retry-after') ?? '1').toMatch(/^[1-9]\d*$/);
      });
    });

    it('the list of models is valid, and so is each model alone', async () => {
      const list: unknown = await (await request({ path: '/v1/models' })).json();
      expect(schemas.problemsOf('ListModelsResponse', list)).toEqual([]);
      const { data } = list as { data: { id: string }[] };
      expect(data.map(({ id }) => id)).toContain('ours');
      for (const { id } of data) {
        const model: unknown = await (await request({ path: `/v1/models/${id}` })).json();
        expect(schemas.problemsOf('Model', model)).toEqual([]);
      }
    });

    it.each([
      ['breaks', { resetAt: 2 }],
      ['sends an error of its own', { errorEventAt: 2, errorEventMessage: 'secret words of the provider' }],
    ])(
      'the error event of a stream whose provider %s is valid, and the last thing in it',
      async (_, behaviour: Behaviour) => {
        stack.simulator.script('theirs', behaviour);
        const text = await (await request({ more: { stream: true } })).text();
        const { events, isDone } = readEvents(text);
        expect(isDone).toBe(false);
        const last = JSON.parse(events.at(-1) ?? 'null') as unknown;
        expect(schemas.problemsOf('ErrorResponse', last)).toEqual([]);
        expect(last).toMatchObject({ error: { code: 'UPSTREAM_ERROR', type: 'api_error' } });
        expect(text).not.toContain('secret words');
        const chunks = events.slice(0, -1).map((event) => JSON.parse(event) as unknown);
        expect(chunks.length).toBeGreaterThan(0);
        expect(chunks.flatMap((chunk) => schemas.problemsOf('CreateChatCompletionStreamResponse', chunk))).toEqual([]);
      },
    );

    it.each(ANSWERS)('a whole answer with $what stays valid on its way', async ({ behaviour, more }) => {
      stack.simulator.script('theirs', behaviour);
      const response = await request({ more: more ?? {} });
      const answer = (await response.json()) as { model?: string };
      expect(response.status).toBe(200);
      expect(answer.model).toBe('ours');
      expect(schemas.problemsOf('CreateChatCompletionResponse', answer)).toEqual([]);
    });

    const streamed = ANSWERS.flatMap((answer) => [true, false].map((include_usage) => ({ ...answer, include_usage })));
    it.each(streamed)(
      'each chunk of a stream with $what stays valid on its way (usage asked for: $include_usage)',
      async ({ behaviour, more, include_usage }) => {
        stack.simulator.script('theirs', behaviour);
        const response = await request({ more: { ...more, stream: true, stream_options: { include_usage } } });
        const { events, isDone } = readEvents(await response.text());
        expect(isDone).toBe(true);
        const chunks = events.map((event) => JSON.parse(event) as { model?: string });
        expect(chunks.length).toBeGreaterThan(3);
        expect(new Set(chunks.map(({ model }) => model))).toEqual(new Set(['ours']));
        expect(chunks.flatMap((chunk) => schemas.problemsOf('CreateChatCompletionStreamResponse', chunk))).toEqual([]);
      },
    );

    const recorded = recordedChatStreams()?.find(({ name }) => name === 'openai-text');
    const recordedBody = recordedChatBodies()?.get('openai-text');
    (recorded && recordedBody ? it : it.skip)('what OpenAI itself once answered stays valid on its way', async () => {
      stack.simulator.script('theirs', { frames: recorded?.events ?? [] });
      const { events } = readEvents(await (await request({ more: { stream: true } })).text());
      const chunks = events.map((event) => JSON.parse(event) as unknown);
      expect(chunks.length).toBeGreaterThan(300);
      expect(chunks.flatMap((chunk) => schemas.problemsOf('CreateChatCompletionStreamResponse', chunk))).toEqual([]);
      stack.simulator.script('theirs', { body: recordedBody?.toString() ?? '' });
      const answer: unknown = await (await request({})).json();
      expect(schemas.problemsOf('CreateChatCompletionResponse', answer)).toEqual([]);
    });

    function request(call: Omit<Refused, 'what' | 'status' | 'code'> & { headers?: object }): Promise<Response> {
      const { path = '/v1/chat/completions', key = paid.key, contentType = 'application/json', more } = call;
      const method = call.method ?? (path === '/v1/chat/completions' ? 'POST' : 'GET');
      return fetch(`${stack.gateway.url}${path}`, {
        method,
        headers: {
          ...(key === '' ? {} : { authorization: `Bearer ${keys[key] ?? key}` }),
          ...(method === 'POST' ? { 'content-type': contentType } : {}),
          ...call.headers,
        },
        ...(method === 'POST'
          ? { body: call.body ?? JSON.stringify({ model: 'ours', messages: MESSAGES, ...more }) }
          : {}),
      });
    }
  });
}

function aliased(upstream_model: string): { upstream: object } {
  return { upstream: { upstream_model } };
}

function failing(status: number): object {
  return { x_simulate: { fail: { status, message: 'as scripted', retryAfter: '0' } } };
}
