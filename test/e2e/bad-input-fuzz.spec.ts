import type { PaidModel } from '../factories/paid-model';
import { createAnthropicProvider, createPrice, createUpstream } from '../factories/upstreams';
import { extent } from '../support/extent';
import { ALL_HOLD, firstSeed, invariantsOf, MoneyStage, Seeded } from '../support/money-stage';
import { type RawAnswer, send, sendBytes } from '../support/raw-http';
import type { TestGateway } from '../support/test-gateway';

const SEED = firstSeed();
const TIMES = extent(1, 10);
const BODIES = 6_000 * TIMES;
const OTHER_BODIES = 4_000 * TIMES;
const SHAPES = 2_500 * TIMES;
const CONTROL_PLANE = 1_500 * TIMES;
const SOCKETS_AT_ONCE = 200;
const WITHIN_MS = extent(120_000, 600_000);
const AT_ONCE = 16;

/** The key's tenant has no money: whatever by chance is a good request is refused for that. */
describe(`fuzzed requests (seed ${SEED})`, () => {
  let stage: MoneyStage;
  let gateway: TestGateway;
  let paid: PaidModel;
  let sent = 0;

  beforeAll(async () => {
    stage = await MoneyStage.open();
    gateway = await stage.startGateway();
    paid = await stage.paidModel(gateway, {
      model: 'fuzzed',
      price: { input_usd_per_mtok: '1', output_usd_per_mtok: '1', per_request_usd: '0.01' },
      tenant: { initial_balance_usd: '0', daily_quota: null, monthly_quota: null },
    });
    const provider_id = await createAnthropicProvider(gateway, stage.simulator.url);
    await createUpstream(gateway, { provider_id, model: 'fuzzed-claude' });
    await createPrice(gateway, { model: 'fuzzed-claude', per_request_usd: '0.01' });
  }, 60_000);

  afterAll(() => stage.close(), 30_000);

  /** A hang is a rejection: `send` waits 15 seconds at most. */
  async function fuzz(count: number, request: (random: Seeded) => Promise<RawAnswer>): Promise<Record<string, number>> {
    const statuses: Record<string, number> = {};
    const random = new Seeded(SEED);
    let left = count;
    const worker = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        const { status, text } = await request(random);
        sent += 1;
        statuses[status] = (statuses[status] ?? 0) + 1;
        if (status >= 500) throw new Error(`seed ${SEED}: answered ${status} ${text}`);
        if (status >= 400)
          expect(JSON.parse(text)).toMatchObject({ error: { message: expect.any(String) as unknown } });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    return statuses;
  }

  it(
    'are refused where the body of a chat completion is damaged',
    async () => {
      const statuses = await fuzz(BODIES, (random) =>
        send(gateway.url, {
          body: damaged(bodyOf(paid.model, random), random),
          headers: { authorization: `Bearer ${paid.key}`, 'content-type': 'application/json' },
          isChunked: random.integer(1, 5) === 1,
        }),
      );
      expect(Object.keys(statuses).filter((status) => Number(status) < 400)).toEqual([]);
      // Not one kind of refusal alone: some were stopped by the parser, others passed it and met the empty wallet.
      expect(statuses[400]).toBeGreaterThan(BODIES / 10);
      expect(statuses[402]).toBeGreaterThan(BODIES / 50);
    },
    WITHIN_MS,
  );

  it(
    'are refused where the body of another dialect is damaged, to be passed on or translated',
    async () => {
      const statuses = await fuzz(OTHER_BODIES, (random) => {
        const path = random.pick([...OTHER_DIALECTS.keys()]);
        const fields = { ...OTHER_DIALECTS.get(path), model: random.pick([paid.model, 'fuzzed-claude']) };
        return send(gateway.url, {
          path,
          body: damaged(withOddFields(fields, random), random),
          headers: { authorization: `Bearer ${paid.key}`, 'content-type': 'application/json' },
        });
      });
      expect(Object.keys(statuses).filter((status) => Number(status) < 400)).toEqual([]);
      expect(statuses[400]).toBeGreaterThan(OTHER_BODIES / 10);
      expect(statuses[402]).toBeGreaterThan(OTHER_BODIES / 50);
    },
    WITHIN_MS,
  );

  it(
    'are refused where method, path and headers are anything',
    async () => {
      await fuzz(SHAPES, (random) =>
        send(gateway.url, {
          method: random.pick(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']),
          path: pathOf(random),
          headers: headersOf(paid.key, random),
          ...(random.integer(0, 1) === 1 ? { body: damaged(bodyOf(paid.model, random), random) } : {}),
        }),
      );
    },
    WITHIN_MS,
  );

  it(
    'are refused by the control plane too',
    async () => {
      const entities = [
        'tenants',
        'providers',
        'upstreams',
        'prices',
        `tenants/${paid.tenantId}/api-keys`,
        'api-keys/x',
      ];
      await fuzz(CONTROL_PLANE, (random) =>
        send(gateway.url, {
          method: random.pick(['POST', 'PATCH', 'GET', 'DELETE']),
          path: `/admin/v1/${random.pick(entities)}${random.pick(['', '', '/', '?limit=-1', '?after=%00', '?x=1', '/..'])}`,
          headers: { authorization: `Bearer ${gateway.adminToken}`, 'content-type': 'application/json' },
          body: damaged(
            JSON.stringify({
              name: oddText(random),
              kind: 'openai',
              base_url: oddText(random),
              api_key: oddText(random),
              provider_id: oddText(random),
              model: oddText(random),
              upstream_model: oddText(random),
              input_usd_per_mtok: random.pick(['1', '-1', '1e9', '0.0000000001', '99999999999999999999', 'NaN']),
              output_usd_per_mtok: '1',
              timezone: oddText(random),
              limit: random.integer(-5, 5),
            }),
            random,
          ),
        }),
      );
    },
    WITHIN_MS,
  );

  it(
    'close their socket where they are no HTTP',
    async () => {
      const random = new Seeded(SEED);
      for (let round = 0; round < TIMES; round += 1) {
        const answers = await Promise.all(
          Array.from({ length: SOCKETS_AT_ONCE }, () => {
            const bytes = Buffer.from(Array.from({ length: random.integer(1, 400) }, () => random.integer(0, 255)));
            return sendBytes(gateway.port, Buffer.concat([bytes, Buffer.from('\r\n\r\n')]), 30_000);
          }),
        );
        sent += answers.length;
        for (const answer of answers) expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
      }
    },
    WITHIN_MS,
  );

  it('changed nothing: all were sent, no process ended, nothing was charged or held', async () => {
    expect(sent).toBe(BODIES + OTHER_BODIES + SHAPES + CONTROL_PLANE + SOCKETS_AT_ONCE * TIMES);
    const ended = await Promise.race([gateway.ended, Promise.resolve('alive')]);
    expect(ended).toBe('alive');
    expect((await send(gateway.url, { method: 'GET', path: '/health/ready' })).status).toBe(200);
    expect(stage.simulator.served()).toEqual([]);
    const { rows } = await stage.pool.query(
      `select (select count(*)::int from billing_transaction) as charges, (select count(*)::int from ledger_transfer) as transfers`,
    );
    expect(rows).toEqual([{ charges: 0, transfers: 0 }]);
    expect(await stage.openOf([paid.tenantId])).toEqual({ pending: 0, holds: 0 });
    expect(await invariantsOf(gateway)).toEqual(ALL_HOLD);
    expect(gateway.logs()).not.toMatch(
      /failed inside the gateway|workflow step \w+ failed|request log rows are dropped/,
    );
  }, 30_000);
});

const ODD_TEXTS = [
  '',
  ' ',
  'x',
  'ü',
  '\u0000',
  '\ud800',
  '\u2028',
  '😀',
  '__proto__',
  'a'.repeat(300),
  "'; drop table price; --",
  '{"a":1}',
  'http://[::1',
  'file:///etc/passwd',
  'http://169.254.169.254/v1',
];
const ODD_VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  2 ** 53,
  '',
  'x',
  [],
  {},
  [[]],
  [null],
  { a: {} },
  '\u0000',
];

function oddText(random: Seeded): string {
  return random.pick(ODD_TEXTS);
}

/** Good requests of the dialects beside chat, by their routes. */
const OTHER_DIALECTS: ReadonlyMap<string, object> = new Map<string, object>([
  [
    '/v1/messages',
    {
      max_tokens: 2_000,
      system: [{ type: 'text', text: 'be brief', cache_control: { type: 'ephemeral' } }],
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'hello' }] },
        { role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'f', input: { a: 1 } }] },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: 'done' }] },
      ],
      tools: [{ name: 'f', description: 'd', input_schema: { type: 'object', properties: {} } }],
      tool_choice: { type: 'auto' },
      thinking: { type: 'enabled', budget_tokens: 1_024 },
      stop_sequences: ['x'],
      metadata: { user_id: 'u' },
      stream: true,
    },
  ],
  [
    '/v1/responses',
    {
      instructions: 'be brief',
      input: [
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hello' }] },
        { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c', output: 'done' },
      ],
      tools: [{ type: 'function', name: 'f', parameters: { type: 'object' }, strict: false }],
      reasoning: { effort: 'low', summary: 'auto' },
      text: { format: { type: 'text' } },
      max_output_tokens: 50,
      store: false,
      stream: true,
    },
  ],
  ['/v1/embeddings', { input: ['hello', 'you'], encoding_format: 'float', dimensions: 8, user: 'u' }],
]);

/** A good request with a few fields replaced by odd values. */
function bodyOf(model: string, random: Seeded): string {
  return withOddFields(
    {
      model,
      messages: [
        { role: 'system', content: 'be brief' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'hello' },
            { type: 'image_url', image_url: { url: 'data:,x' } },
          ],
        },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
        },
      ],
      stream: random.integer(0, 1) === 1,
      stream_options: { include_usage: true },
      max_tokens: 5,
      max_completion_tokens: 7,
      n: 1,
      tools: [{ type: 'function', function: { name: 'f', parameters: {} } }],
      temperature: 0.5,
      user: 'somebody',
      session_id: 'some-session',
    },
    random,
  );
}

function withOddFields(fields: object, random: Seeded): string {
  const body: Record<string, unknown> = { ...fields };
  for (let change = random.integer(0, 2); change > 0; change -= 1) {
    body[random.pick([...Object.keys(body), oddText(random)])] = random.pick(ODD_VALUES);
  }
  return JSON.stringify(body);
}

/** A few bytes flipped, dropped, doubled or moved; every third text stays as it is. */
function damaged(text: string, random: Seeded): Buffer {
  let bytes = Buffer.from(text);
  if (random.integer(1, 3) === 1) return bytes;
  for (let change = random.integer(1, 4); change > 0; change -= 1) {
    const at = random.integer(0, Math.max(0, bytes.length - 1));
    const length = random.integer(1, 20);
    const [before, cut, after] = [bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at + length)];
    const parts: readonly (readonly Buffer[])[] = [
      [before, after],
      [before, cut, cut, after],
      [after, cut, before],
      [
        before,
        Buffer.from(random.pick(['"', '{', '[', '}', ']', ',', '\\', '\u0000', '"__proto__":1,', '1e999'])),
        cut,
        after,
      ],
      [before, Buffer.from([random.integer(0, 255)]), after],
    ];
    bytes = Buffer.concat(random.pick(parts));
  }
  return bytes;
}

function pathOf(random: Seeded): string {
  const parts = [
    'v1',
    'chat',
    'completions',
    'models',
    'messages',
    'count_tokens',
    'responses',
    'cancel',
    'embeddings',
    'quote',
    'balance',
    'admin',
    'health',
    'docs',
    '..',
    '.',
    '%2e%2e',
    '%00',
    '%ff',
    'a'.repeat(500),
    '',
  ];
  const path = Array.from({ length: random.integer(1, 5) }, () => random.pick(parts)).join('/');
  return `/${path}${random.pick(['', '', '?a=b', '?__proto__=1', '?a[b]=c&a=d', '?%'])}`;
}

function headersOf(key: string, random: Seeded): Record<string, string> {
  const values = [
    '',
    'x',
    '*',
    '\u00ff',
    'a'.repeat(3_000),
    '0',
    '-1',
    'application/json',
    'text/html',
    'gzip',
    'chunked',
    '100-continue',
  ];
  const names = [
    'content-type',
    'accept',
    'accept-language',
    'content-encoding',
    'x-request-id',
    'x-api-key',
    'anthropic-version',
    'anthropic-beta',
    'openai-beta',
    'x-session-id',
    'x-tollgate-region',
    'idempotency-key',
    'origin',
    'range',
    'upgrade',
    'te',
    'cookie',
  ];
  const headers: Record<string, string> = random.integer(0, 1) === 1 ? { authorization: `Bearer ${key}` } : {};
  for (let count = random.integer(0, 4); count > 0; count -= 1) headers[random.pick(names)] = random.pick(values);
  return headers;
}
