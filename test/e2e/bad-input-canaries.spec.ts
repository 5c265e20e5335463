import { adminCall } from '../factories/admin-client';
import type { PaidModel } from '../factories/paid-model';
import { createPaidModel } from '../factories/paid-model';
import { createAnthropicProvider, createPrice, createUpstream } from '../factories/upstreams';
import type { Behaviour } from '../simulator/behaviour';
import { MoneyStage } from '../support/money-stage';
import { type RawAnswer, type RawRequest, send, sendBytes } from '../support/raw-http';
import type { TestGateway } from '../support/test-gateway';
import { TEST_SECRETS } from '../support/test-settings';

const PROMPT = 'canary-prompt-4711 my card is 4111-1111';
const ANSWER = 'canary-answer-0815';
const PROVIDER_KEY = 'sk-provider-canary-7c1d9f20aa';
const WRONG_KEY = 'sk-tg-canarycanarycanarycanarycanarycanary';
const SPILLED = `Incorrect API key provided: ${PROVIDER_KEY}. Authorization: Bearer ${PROVIDER_KEY}, see http://127.0.0.1/x`;

function bodyOf(path: string): object {
  if (path !== '/v1/messages') return { input: PROMPT };
  return { max_tokens: 100, system: PROMPT, messages: [{ role: 'user', content: PROMPT }] };
}

/** Everything that must stay secret passes through the gateway in every way it can, at the most talkative log level. */
describe('secrets and prompts', () => {
  let stage: MoneyStage;
  let gateway: TestGateway;
  let paid: PaidModel;
  const answers: string[] = [];

  beforeAll(async () => {
    stage = await MoneyStage.open();
    gateway = await stage.startGateway({ LOG_LEVEL: 'trace', UPSTREAM_BREAKER_FAILURES: '0' });
    paid = await createPaidModel(gateway, {
      baseUrl: `${stage.simulator.url}/v1`,
      tenant: { daily_quota: null, monthly_quota: null },
    });
    await adminCall(gateway, 'PATCH', `providers/${paid.providerId}`, { api_key: PROVIDER_KEY });
    const provider_id = await createAnthropicProvider(gateway, stage.simulator.url);
    await adminCall(gateway, 'PATCH', `providers/${provider_id}`, { api_key: PROVIDER_KEY });
    await createUpstream(gateway, { provider_id, model: 'canary-claude' });
    await createPrice(gateway, { model: 'canary-claude' });
    await callInEveryWay();
  }, 90_000);

  afterAll(() => stage.close(), 30_000);

  async function note(options: RawRequest): Promise<RawAnswer> {
    const answer = await send(gateway.url, options);
    answers.push(`${JSON.stringify(answer.headers)}\n${answer.text}`);
    return answer;
  }

  async function chat(script: object, fields: object = {}, headers: object = {}): Promise<RawAnswer> {
    return note({
      headers: { authorization: `Bearer ${paid.key}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify({
        model: paid.model,
        messages: [{ role: 'user', content: PROMPT }],
        user: PROMPT,
        x_simulate: script,
        ...fields,
      }),
    });
  }

  /** A call of another dialect, by a route and its body, to a provider of either kind. */
  async function ask(path: string, script: Behaviour, more: object = {}, headers: object = {}): Promise<void> {
    for (const model of [paid.model, 'canary-claude']) {
      stage.simulator.script(model, script);
      await note({
        path,
        headers: { 'x-api-key': paid.key, 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ ...bodyOf(path), model, ...more }),
      });
    }
    for (const model of [paid.model, 'canary-claude']) stage.simulator.script(model);
  }

  async function callOtherDialects(): Promise<void> {
    for (const path of ['/v1/messages', '/v1/responses']) {
      for (const stream of [false, true]) {
        await ask(path, { text: ANSWER }, { stream });
        for (const status of [400, 401, 429, 500]) await ask(path, { fail: { status, message: SPILLED } }, { stream });
        await ask(path, { resetAt: 'headers' }, { stream });
        if (stream)
          await ask(path, { text: `${ANSWER} and on`, errorEventAt: 2, errorEventMessage: SPILLED }, { stream });
        await ask(path, { body: `no JSON ${PROVIDER_KEY} ${ANSWER}` }, { stream });
        await ask(path, {}, { stream, max_tokens: PROMPT, max_output_tokens: PROMPT });
        await ask(path, {}, { stream, nobody_knows: PROMPT, metadata: { user_id: PROMPT } });
      }
      await ask(path, {}, {}, { 'x-api-key': WRONG_KEY });
      await ask(path, {}, {}, { 'anthropic-beta': `${WRONG_KEY}\u00ff`, 'openai-beta': `${WRONG_KEY}\u00ff` });
    }
    await ask('/v1/embeddings', {});
    await ask('/v1/embeddings', { fail: { status: 400, message: SPILLED } });
    await note({ method: 'GET', path: `/v1/responses/${paid.key}`, headers: { authorization: `Bearer ${WRONG_KEY}` } });
    await note({ path: `/v1/messages/batches?key=${paid.key}`, headers: { 'x-api-key': paid.key }, body: PROMPT });
  }

  async function callInEveryWay(): Promise<void> {
    await callOtherDialects();
    for (const stream of [false, true]) {
      expect((await chat({ text: ANSWER }, { stream })).status).toBe(200);
      await chat({ fail: { status: 400, message: SPILLED } }, { stream });
      await chat({ fail: { status: 401, message: SPILLED } }, { stream });
      await chat({ fail: { status: 500, body: SPILLED } }, { stream });
      await chat({ fail: { status: 429, message: SPILLED } }, { stream });
      await chat({ resetAt: 'headers' }, { stream });
      await chat({ text: `${ANSWER} and on and on`, errorEventAt: 2, errorEventMessage: SPILLED }, { stream });
      await chat({ body: `no JSON ${PROVIDER_KEY} ${ANSWER}` }, { stream });
      await chat({}, { stream, max_tokens: PROMPT });
      await chat({}, { stream, model: PROMPT.slice(0, 20) });
      await chat({}, { stream, session_id: PROMPT }, { 'x-request-id': 'harmless' });
    }
    await chat({}, {}, { authorization: `Bearer ${WRONG_KEY}` });
    await chat({}, {}, { authorization: `Bearer ${WRONG_KEY}`, 'content-type': 'text/plain' });
    await note({ body: `{"messages":"${PROMPT}`, headers: { authorization: `Bearer ${paid.key}` } });
    await note({ method: 'GET', path: `/v1/models?api_key=${paid.key}`, headers: { 'x-api-key': paid.key } });
    await note({ method: 'GET', path: '/v1/balance', headers: { 'x-api-key': paid.key } });
    await note({ path: '/v1/nothing', headers: { authorization: `Bearer ${paid.key}` }, body: PROMPT });
    const admin = { authorization: `Bearer ${gateway.adminToken}`, 'content-type': 'application/json' };
    for (const path of [
      'providers',
      'upstreams',
      `tenants/${paid.tenantId}/api-keys`,
      'transactions',
      'request-logs',
      'audit-log',
    ]) {
      await note({ method: 'GET', path: `/admin/v1/${path}`, headers: admin });
    }
    for (const path of ['/docs-json', '/health', '/metrics']) await note({ method: 'GET', path, headers: admin });
    await note({
      method: 'GET',
      path: '/admin/v1/tenants',
      headers: { authorization: `Bearer wrong-${PROVIDER_KEY}` },
    });
    await note({
      path: '/admin/v1/providers',
      headers: admin,
      body: `{"api_key":"${PROVIDER_KEY}","name":5,"kind":"openai"}`,
    });
    await note({ path: '/admin/v1/providers', headers: admin, body: `{"api_key":"${PROVIDER_KEY}",` });
    answers.push(await sendBytes(gateway.port, `GET / HTTP/1.1\r\nauthorization: Bearer ${paid.key}\r\n\0\r\n\r\n`));
    await stage.quiet([paid.tenantId]);
  }

  function secrets(): Record<string, string> {
    return {
      'the tenant’s key': paid.key,
      'the second half of the tenant’s key': paid.key.slice(paid.key.length / 2),
      'the provider’s key': PROVIDER_KEY,
      'the admin token': TEST_SECRETS.ADMIN_TOKEN,
      'the pepper': TEST_SECRETS.KEY_PEPPER,
      'the encryption key': TEST_SECRETS.ENCRYPTION_KEY,
      'a wrong key': WRONG_KEY,
    };
  }

  function expectNoneIn(text: string, texts: Readonly<Record<string, string>>): void {
    for (const [name, secret] of Object.entries(texts)) {
      const at = text.indexOf(secret);
      expect([name, at < 0 ? 'absent' : text.slice(Math.max(0, at - 200), at + 50)]).toEqual([name, 'absent']);
    }
  }

  const said = { 'a prompt': PROMPT, 'part of a prompt': '4111-1111', 'an answer': ANSWER };

  it('are in no answer', () => {
    const text = answers.join('\n');
    expect(answers.length).toBeGreaterThan(35);
    // What was asked for is in it: the answers were collected.
    expect(text).toContain(ANSWER);
    expectNoneIn(text, secrets());
  });

  it('are in no line of the log, at its most talkative', () => {
    const log = gateway.logs();
    expect(log).toContain('listening on');
    expectNoneIn(log, { ...secrets(), ...said });
    expectNoneIn(log, { 'the database’s password': new URL(stage.database.url).password || 'none-is-set' });
  });

  it('are in no metric', async () => {
    const { status, text } = await send(gateway.url, {
      method: 'GET',
      path: '/metrics',
      headers: { authorization: `Bearer ${gateway.adminToken}` },
    });
    expect(status).toBe(200);
    expect(text).toContain('quota_check_passed_total');
    expectNoneIn(text, { ...secrets(), ...said });
  });

  it('are in no column of any table, in text or in bytes', async () => {
    const { rows: tables } = await stage.pool.query<{ name: string }>(
      `select quote_ident(table_schema) || '.' || quote_ident(table_name) as name from information_schema.tables
        where table_schema not in ('pg_catalog', 'information_schema') and table_type = 'BASE TABLE'`,
    );
    expect(tables.length).toBeGreaterThanOrEqual(14);
    let dump = '';
    for (const { name } of tables) {
      const { rows } = await stage.pool.query<{ line: string }>(`select to_jsonb(t)::text as line from ${name} t`);
      dump += rows.map(({ line }) => `${name} ${line}\n`).join('');
    }
    expect(dump).toContain(paid.model);
    expectNoneIn(dump, { ...secrets(), ...said });
    // bytea is shown in hex.
    const all = Object.entries({ ...secrets(), ...said });
    expectNoneIn(dump, Object.fromEntries(all.map(([name, text]) => [name, Buffer.from(text).toString('hex')])));
  });

  it('are in no key or value of Redis', async () => {
    const dump = await stage.withRedis(async (redis) => {
      const keys = await redis.keys('*');
      const values = await Promise.all(
        keys.map(async (key) => ((await redis.type(key)) === 'hash' ? redis.hgetall(key) : redis.smembers(key))),
      );
      return JSON.stringify([keys, values]);
    });
    expect(dump).toContain(paid.tenantId);
    expectNoneIn(dump, { ...secrets(), ...said });
  });
});
