import OpenAI from 'openai';
import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { apiErrorOf, openAiClient } from '../support/openai-caller';
import { send } from '../support/raw-http';

describe('what clients ask beside inference', () => {
  let stack: GatewayStack;
  let paid: PaidModel;

  beforeAll(async () => {
    stack = await startGatewayStack();
    paid = await createPaidModel(stack.gateway, { baseUrl: `${stack.simulator.url}/v1` });
  }, 120_000);

  afterAll(() => stack.close());

  it('HEAD / is answered without a key and without a body', async () => {
    const answer = await send(stack.gateway.url, { method: 'HEAD', path: '/' });
    expect([answer.status, answer.text]).toEqual([200, '']);
    expect(answer.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('responses are not kept, which each of their routes says', async () => {
    const { client, httpCalls } = openAiClient(stack.gateway, paid.key);
    const calls = [
      () => client.responses.retrieve('resp_1'),
      () => client.responses.delete('resp_1'),
      () => client.responses.cancel('resp_1'),
      () => client.responses.inputItems.list('resp_1'),
    ];
    for (const call of calls) {
      const error = await apiErrorOf(call());
      expect(error).toBeInstanceOf(OpenAI.NotFoundError);
      expect(error).toMatchObject({ code: 'NOT_FOUND', param: 'response_id' });
      expect(error.message).toContain('responses are not kept');
    }
    expect(httpCalls()).toBe(4);
  });

  it('are documented, each route of inference with its Idempotency-Key', async () => {
    const response = await fetch(`${stack.gateway.url}/docs-json`);
    const { paths } = (await response.json()) as {
      paths: Record<string, { post?: { responses: object; parameters: { name: string }[]; security: object[] } }>;
    };
    for (const path of ['/v1/chat/completions', '/v1/responses', '/v1/messages', '/v1/embeddings']) {
      const { responses, parameters, security } = paths[path]?.post ?? { responses: {}, parameters: [], security: [] };
      expect(Object.keys(responses)).toEqual(['200', '400', '402', '403', '404', '409', '422', '429', '503']);
      expect(parameters.map(({ name }) => name)).toEqual(expect.arrayContaining(['Idempotency-Key', 'x-session-id']));
      expect(security).toEqual([{ 'api-key': [] }]);
    }
    const stored = (paths['/v1/responses/{response_id}/cancel']?.post ?? { responses: {} }).responses;
    expect(Object.keys(stored)).toEqual(['404']);
  });

  it('a response is told to nobody without a key', async () => {
    const answer = await send(stack.gateway.url, { method: 'GET', path: '/v1/responses/resp_1' });
    expect(answer.status).toBe(401);
  });

  it.each(['/v1/chat/completions', '/v1/responses', '/v1/messages', '/v1/embeddings'])(
    'both headers of a key count on %s',
    async (path) => {
      const body = JSON.stringify({
        model: 'unknown',
        messages: [{ role: 'user', content: 'x' }],
        input: 'x',
        max_tokens: 9,
      });
      for (const headers of [{ authorization: `Bearer ${paid.key}` }, { 'x-api-key': paid.key }]) {
        const answer = await send(stack.gateway.url, { path, headers, body });
        expect([answer.status, JSON.parse(answer.text)]).toMatchObject([404, { error: { code: 'MODEL_NOT_FOUND' } }]);
      }
    },
  );
});
