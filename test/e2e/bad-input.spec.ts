import { adminCall } from '../factories/admin-client';
import type { PaidModel } from '../factories/paid-model';
import { createApiKey, createTenant } from '../factories/tenants';
import { createUpstream } from '../factories/upstreams';
import { ALL_HOLD, invariantsOf, MoneyStage, until } from '../support/money-stage';
import { type RawAnswer, type RawRequest, send } from '../support/raw-http';
import type { TestGateway } from '../support/test-gateway';

const HELLO = [{ role: 'user', content: 'hello' }];

interface Expected {
  readonly status: number;
  readonly code: string;
  readonly param?: string | null;
  readonly type?: string;
}

const invalid = (param: string | null = null): Expected => ({
  status: 400,
  code: 'INVALID_REQUEST',
  type: 'invalid_request_error',
  param,
});

describe('a request that cannot be used', () => {
  let stage: MoneyStage;
  let gateway: TestGateway;
  let paid: PaidModel;

  beforeAll(async () => {
    stage = await MoneyStage.open();
    gateway = await stage.startGateway();
    paid = await stage.paidModel(gateway, { model: 'good-model', tenant: { daily_quota: null, monthly_quota: null } });
  }, 60_000);

  afterAll(async () => {
    await stage.close();
  }, 30_000);

  /** Nothing of it cost anything, reached the provider, or hurt the process. */
  afterEach(async () => {
    expect(stage.simulator.served()).toEqual([]);
    const { rows } = await stage.pool.query<{ n: string }>(
      `select count(*) as n from billing_transaction where type = 'charge'`,
    );
    expect(rows).toEqual([{ n: '0' }]);
    expect(await stage.openOf([paid.tenantId])).toEqual({ pending: 0, holds: 0 });
  });

  function post(
    body: Buffer | string,
    headers: Readonly<Record<string, string>> = {},
    more: RawRequest = {},
  ): Promise<RawAnswer> {
    return send(gateway.url, {
      body,
      headers: { authorization: `Bearer ${paid.key}`, 'content-type': 'application/json', ...headers },
      ...more,
    });
  }

  function expectRefused(answer: RawAnswer, { status, code, param, type }: Expected): void {
    const { error } = JSON.parse(answer.text) as { error: Record<string, unknown> };
    expect({ status: answer.status, code: error.code, ...(param === undefined ? {} : { param: error.param }) }).toEqual(
      {
        status,
        code,
        ...(param === undefined ? {} : { param }),
      },
    );
    if (type !== undefined) expect(error.type).toBe(type);
    expect(typeof error.message).toBe('string');
    expect(answer.headers['content-type']).toMatch(/^application\/json/);
    expect(answer.headers['x-should-retry']).toBe('false');
    expect(answer.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    if (typeof param === 'string' && param !== '__proto__') expect(error.message).toContain(param);
  }

  it.each<[string, Buffer | string]>([
    ['an empty body', ''],
    ['no JSON', 'hello'],
    ['half of a JSON object', '{"model":"good-model","messages":[{"role":"user"'],
    ['JSON with something after it', `${JSON.stringify({ model: 'good-model', messages: HELLO })}{}`],
    ['an array', '[]'],
    ['a string', '"good-model"'],
    ['null', 'null'],
    ['a number that is none', '{"model":"good-model","messages":[],"n":01}'],
    [
      'invalid UTF-8',
      Buffer.concat([Buffer.from('{"model":"good-model","messages":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]),
    ],
    ['100,000 nested arrays', `{"model":"good-model","messages":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
    [
      '100,000 nested objects in a field nobody knows',
      `{"x":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)},"model":"good-model"}`,
    ],
    ['100,000 opening brackets', '['.repeat(100_000)],
  ])('is refused as %s', async (_, body) => {
    expectRefused(await post(body), invalid());
  });

  it.each<[string, Record<string, unknown>]>([
    ['model', { model: undefined }],
    ['model', { model: null }],
    ['model', { model: 7 }],
    ['model', { model: '' }],
    ['model', { model: ['good-model'] }],
    ['model', { model: 'm'.repeat(5_000) }],
    ['model', { model: 'good-model\u0000' }],
    ['model', { model: 'good\nmodel' }],
    ['messages', { messages: undefined }],
    ['messages', { messages: 'hello' }],
    ['messages', { messages: {} }],
    ['messages', { messages: [] }],
    ['messages[0]', { messages: ['hello'] }],
    ['messages[1]', { messages: [...HELLO, null] }],
    ['messages[0].role', { messages: [{ content: 'hello' }] }],
    ['messages[0].role', { messages: [{ role: 5, content: 'hello' }] }],
    ['messages[0].content', { messages: [{ role: 'user', content: 5 }] }],
    ['messages[0].content', { messages: [{ role: 'user', content: {} }] }],
    ['messages[0].content[0]', { messages: [{ role: 'user', content: [5] }] }],
    ['messages[0].content[0].type', { messages: [{ role: 'user', content: [{ text: 'hello' }] }] }],
    ['messages[0].content[0].text', { messages: [{ role: 'user', content: [{ type: 'text', text: 5 }] }] }],
    ['messages[0].content[0].image_url.url', { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }],
    ['messages[0].tool_calls', { messages: [{ role: 'assistant', tool_calls: {} }] }],
    ['messages[0].tool_calls[0]', { messages: [{ role: 'assistant', tool_calls: [5] }] }],
    ['stream', { stream: 'yes' }],
    ['stream', { stream: 1 }],
    ['stream_options', { stream: true, stream_options: [] }],
    ['stream_options.include_usage', { stream: true, stream_options: { include_usage: 'yes' } }],
    ['max_tokens', { max_tokens: '10' }],
    ['max_tokens', { max_tokens: 0 }],
    ['max_tokens', { max_tokens: -1 }],
    ['max_tokens', { max_tokens: 1.5 }],
    ['max_completion_tokens', { max_completion_tokens: 2 ** 60 }],
    ['n', { n: 0 }],
    ['n', { n: 1_000_000 }],
    ['n', { n: 'two' }],
    ['tools', { tools: {} }],
    ['tools[0]', { tools: ['hammer'] }],
    ['user', { user: 5 }],
    ['session_id', { session_id: 5 }],
    ['session_id', { session_id: 's'.repeat(5_000) }],
    ['Model', { Model: 'another-model' }],
    ['MAX_TOKENS', { MAX_TOKENS: 5 }],
    ['__proto__', { ['__proto__']: undefined, nested: { toString: 1 } }],
  ])('is refused naming the field: %s', async (param, fields) => {
    let body = JSON.stringify({ model: 'good-model', messages: HELLO, ...fields });
    if (param === '__proto__') body = body.replace('"nested"', '"__proto__"');
    expectRefused(await post(body), invalid(param));
  });

  it.each([
    ['in a message', '{"model":"good-model","messages":[{"role":"user","content":"x","__proto__":{"admin":true}}]}'],
    [
      'in a field nobody knows',
      '{"model":"good-model","messages":[{"role":"user","content":"x"}],"a":{"b":[{"__proto__":1}]}}',
    ],
    [
      'with escapes',
      '{"model":"good-model","messages":[{"role":"user","content":"x"}],"\\u005f_proto__":{"stream":true}}',
    ],
  ])('is refused where it names __proto__ %s', async (_, body) => {
    expectRefused(await post(body), invalid('__proto__'));
  });

  it('is refused where half a surrogate pair stands for the model', async () => {
    expectRefused(await post('{"model":"\\ud800","messages":[{"role":"user","content":"x"}]}'), invalid('model'));
  });

  it('is refused for a model nobody serves, one without a price, and a limit nobody can pay', async () => {
    const ask = (fields: object): Promise<RawAnswer> =>
      post(JSON.stringify({ model: 'good-model', messages: HELLO, ...fields }));
    expectRefused(await ask({ model: 'no-such-model' }), { status: 404, code: 'MODEL_NOT_FOUND', param: 'model' });
    await createUpstream(gateway, { provider_id: paid.providerId, model: 'unpriced-model' });
    expectRefused(await ask({ model: 'unpriced-model' }), { status: 400, code: 'MODEL_NOT_PRICED', param: 'model' });
    const tooMuch = await ask({ max_tokens: Number.MAX_SAFE_INTEGER, n: 128 });
    expectRefused(tooMuch, { status: 402, code: 'QUOTA_BALANCE_EXCEEDED', type: 'insufficient_quota' });
  });

  it('is refused with 413 where its body has 40 MB, announced or not', async () => {
    const body = JSON.stringify({ model: 'good-model', messages: [{ role: 'user', content: 'x'.repeat(40 << 20) }] });
    expectRefused(await post(body), { status: 413, code: 'BODY_TOO_LARGE' });
    expectRefused(await post(body, {}, { isChunked: true }), { status: 413, code: 'BODY_TOO_LARGE' });
  }, 60_000);

  it.each([
    ['content-type', { 'content-type': 'text/plain' }],
    ['content-type', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['content-type', { 'content-type': 'multipart/form-data; boundary=x' }],
    ['content-encoding', { 'content-encoding': 'gzip' }],
    ['content-encoding', { 'content-encoding': 'br' }],
  ])('is refused with 415 naming %s: %j', async (param, headers) => {
    const answer = await post(JSON.stringify({ model: 'good-model', messages: HELLO }), headers);
    expectRefused(answer, { status: 415, code: 'UNSUPPORTED_MEDIA_TYPE', param });
  });

  it('is refused without a key, or with one that is none', async () => {
    const { key } = paid;
    const withHeaders = (headers: Readonly<Record<string, string>>): Promise<RawAnswer> =>
      send(gateway.url, {
        body: JSON.stringify({ model: 'good-model', messages: HELLO }),
        headers: { 'content-type': 'application/json', ...headers },
      });
    const noKeys: Readonly<Record<string, string>>[] = [
      {},
      { authorization: '' },
      { authorization: 'Bearer' },
      { authorization: key },
      { authorization: `Basic ${key}` },
      { authorization: `Bearer ${key} ${key}` },
      { authorization: `Bearer ${key}x` },
      { authorization: `Bearer ${key.slice(0, -1)}` },
      { authorization: `Bearer ${key.toUpperCase()}` },
      { authorization: 'Bearer sk-tg-' },
      { authorization: `Bearer sk-tg-${'a'.repeat(9_000)}` },
      { authorization: "Bearer sk-tg-' or 1=1 --" },
      { authorization: `Bearer ${gateway.adminToken}` },
      { 'x-api-key': `${key}\u00e9` },
      { cookie: `key=${key}` },
    ];
    for (const headers of noKeys) {
      expectRefused(await withHeaders(headers), { status: 401, code: 'INVALID_API_KEY', type: 'authentication_error' });
    }
    const inQuery = await send(gateway.url, { path: `/v1/chat/completions?api_key=${key}`, body: '{}' });
    expectRefused(inQuery, { status: 401, code: 'INVALID_API_KEY' });
  });

  it('is refused with a key that was revoked, has expired, may not use the model, or whose tenant is suspended', async () => {
    const ask = (key: string): Promise<RawAnswer> =>
      post(JSON.stringify({ model: 'good-model', messages: HELLO }), { authorization: `Bearer ${key}` });
    const revoked = await createApiKey(gateway, paid.tenantId);
    await adminCall(gateway, 'POST', `api-keys/${revoked.id}/revoke`);
    expectRefused(await ask(revoked.key), { status: 401, code: 'API_KEY_REVOKED' });

    const expiresAtMs = Date.now() + 1_500;
    const expiring = await createApiKey(gateway, paid.tenantId, { expires_at: new Date(expiresAtMs).toISOString() });
    await until(
      () => Date.now() > expiresAtMs,
      10_000,
      () => 'the clock stands',
    );
    expectRefused(await ask(expiring.key), { status: 401, code: 'API_KEY_EXPIRED' });

    const narrow = await createApiKey(gateway, paid.tenantId, { allowed_models: ['another-model'] });
    expectRefused(await ask(narrow.key), { status: 403, code: 'MODEL_NOT_ALLOWED', param: 'model' });

    const tenantId = await createTenant(gateway);
    const { key } = await createApiKey(gateway, tenantId);
    await adminCall(gateway, 'PATCH', `tenants/${tenantId}`, { status: 'suspended' });
    expectRefused(await ask(key), { status: 403, code: 'TENANT_NOT_ACTIVE' });
  }, 30_000);

  it.each<[string, string, number, string]>([
    ['GET', '/v1/chat/completions', 405, 'METHOD_NOT_ALLOWED'],
    ['PUT', '/v1/chat/completions', 405, 'METHOD_NOT_ALLOWED'],
    ['DELETE', '/v1/models', 405, 'METHOD_NOT_ALLOWED'],
    ['POST', '/v1/nothing', 404, 'NOT_FOUND'],
    ['POST', '/', 405, 'METHOD_NOT_ALLOWED'],
    ['GET', '/', 405, 'METHOD_NOT_ALLOWED'],
    ['GET', '/v1/responses', 405, 'METHOD_NOT_ALLOWED'],
    ['GET', '/v1/embeddings', 405, 'METHOD_NOT_ALLOWED'],
    ['PUT', '/v1/responses/resp_1', 405, 'METHOD_NOT_ALLOWED'],
    ['GET', '/v1/responses/resp_1', 404, 'NOT_FOUND'],
    ['POST', '/v1/responses/resp_1/cancel', 404, 'NOT_FOUND'],
    ['POST', '/v1/chat/completions/', 404, 'NOT_FOUND'],
    ['POST', '//v1/chat/completions', 404, 'NOT_FOUND'],
    ['GET', '/v1/../admin/v1/tenants', 404, 'NOT_FOUND'],
    ['GET', '/.env', 404, 'NOT_FOUND'],
    ['GET', '/v1/models/%00', 404, 'MODEL_NOT_FOUND'],
    ['GET', '/v1/%zz', 400, 'INVALID_REQUEST'],
  ])('is told that %s %s is not there', async (method, path, status, code) => {
    const answer = await send(gateway.url, { method, path, headers: { authorization: `Bearer ${paid.key}` } });
    expectRefused(answer, { status, code });
    if (status === 405) expect(answer.headers.allow).toMatch(/HEAD|GET|POST/);
  });

  it.each<[string, string, object, string | null]>([
    ['a field that does not exist', 'tenants', { name: 'x', role: 'owner' }, 'role'],
    ['a balance that is set, not posted', 'tenants', { name: 'x', posted_nano_usd: '1' }, 'posted_nano_usd'],
    ['money as a JSON number', 'tenants', { name: 'x', initial_balance_usd: 10 }, 'initial_balance_usd'],
    ['money with an exponent', 'tenants', { name: 'x', initial_balance_usd: '1e9' }, 'initial_balance_usd'],
    [
      'money finer than a nano-dollar',
      'tenants',
      { name: 'x', initial_balance_usd: '0.0000000001' },
      'initial_balance_usd',
    ],
    ['money that a double cannot hold', 'tenants', { name: 'x', credit_limit_usd: '9000001' }, 'credit_limit_usd'],
    ['negative money', 'tenants', { name: 'x', initial_balance_usd: '-1' }, 'initial_balance_usd'],
    ['half a quota', 'tenants', { name: 'x', daily_quota: 1.5 }, 'daily_quota'],
    ['a zone that is none', 'tenants', { name: 'x', timezone: 'Mars/Olympus' }, 'timezone'],
    ['a name with a NUL', 'tenants', { name: 'a\u0000b' }, 'name'],
    [
      'a price as a JSON number',
      'prices',
      { model: 'x', input_usd_per_mtok: 1, output_usd_per_mtok: '1' },
      'input_usd_per_mtok',
    ],
    [
      'a negative price',
      'prices',
      { model: 'x', input_usd_per_mtok: '-1', output_usd_per_mtok: '1' },
      'input_usd_per_mtok',
    ],
    [
      'an address that is no URL',
      'providers',
      { name: 'x', kind: 'openai', base_url: 'nowhere', api_key: 'k' },
      'base_url',
    ],
    [
      'an address that is a file',
      'providers',
      { name: 'x', kind: 'openai', base_url: 'file:///etc/passwd', api_key: 'k' },
      'base_url',
    ],
    ['an id that is none', 'upstreams', { provider_id: 'x', model: 'm', upstream_model: 'm' }, 'provider_id'],
  ])('is refused by the control plane naming the field: %s', async (_, path, body, param) => {
    const answer = await send(gateway.url, {
      path: `/admin/v1/${path}`,
      headers: { authorization: `Bearer ${gateway.adminToken}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expectRefused(answer, invalid(param));
  });

  it('is refused by the control plane without its token, whatever else it brings', async () => {
    const wrong: Readonly<Record<string, string>>[] = [
      {},
      { authorization: `Bearer ${paid.key}` },
      { authorization: `Bearer ${gateway.adminToken.slice(1)}` },
      { 'x-api-key': gateway.adminToken },
      { cookie: `token=${gateway.adminToken}` },
    ];
    for (const headers of wrong) {
      for (const [method, path] of [
        ['GET', '/admin/v1/tenants'],
        ['POST', '/admin/v1/tenants'],
        ['GET', '/metrics'],
      ]) {
        const answer = await send(gateway.url, { method, path, headers } as RawRequest);
        expectRefused(answer, { status: 401, code: 'ADMIN_TOKEN_INVALID', type: 'authentication_error' });
      }
    }
  });

  it('leaves the process, the ledger and the request log whole', async () => {
    const answer = await send(gateway.url, { method: 'GET', path: '/health/ready' });
    expect(answer.status).toBe(200);
    expect(await invariantsOf(gateway)).toEqual(ALL_HOLD);
    // No poisoned row took the others of its batch along.
    expect(gateway.logs()).not.toMatch(/request log rows are dropped|failed inside the gateway|"level":60/);
  });
});
