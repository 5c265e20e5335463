import { Client } from 'pg';
import { type Answer, ControlPlane, errorOf, textOf } from '../../../../test/support/control-plane-harness';
import { PriceBook } from '../../../catalogue/price-book';

/** As text, so that numbers stand there as in the file. */
type MapText = Readonly<Record<string, string>>;

const CHEAP =
  '{"mode":"chat","input_cost_per_token":1.5e-07,"output_cost_per_token":6e-07,"litellm_provider":"openai"}';
const LONG = `{"mode":"chat","input_cost_per_token":1.25e-06,"output_cost_per_token":1e-05,
  "input_cost_per_token_above_200k_tokens":2.5e-06,"output_cost_per_token_above_200k_tokens":0.000015,
  "max_output_tokens":65535,"supports_reasoning":true,"litellm_provider":"gemini"}`;

describe('an import of prices', () => {
  let plane: ControlPlane;
  let book: PriceBook;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    book = plane.app.get(PriceBook);
  });
  beforeEach(async () => {
    // As the owner: the application may not.
    const owner = new Client({ connectionString: plane.database.url });
    await owner.connect();
    await owner.query('delete from price; delete from model_profile; delete from audit_log');
    await owner.end();
    for (const model of ['cheap', 'long', 'gpt-4o-mini']) book.changed(model);
  });
  afterAll(() => plane.stop());

  function send(path: 'preview' | 'import', map: MapText, more: object = {}): Promise<Answer> {
    const entries = Object.entries(map).map(([model, entry]) => `${JSON.stringify(model)}:${entry}`);
    const rest = JSON.stringify({ source: 'litellm', ...more }).slice(1);
    return plane.adminText('POST', `prices/${path}`, `{"price_map":{${entries.join(',')}},${rest}`);
  }
  const preview = (map: MapText, more: object = {}): Promise<Answer> => send('preview', map, more);
  async function digestOf(map: MapText, more: object = {}): Promise<string> {
    return textOf((await preview(map, more)).body, 'digest');
  }
  async function importAll(map: MapText, more: object = {}): Promise<Answer> {
    return send('import', map, { digest: await digestOf(map), ...more });
  }
  const pricesOf = async (model: string): Promise<unknown[]> =>
    (await plane.expectAdmin(200, 'GET', `prices?model=${model}`)).data as unknown[];
  const codeOf = (answer: Answer): unknown[] => [answer.status, errorOf(answer).code, errorOf(answer).param];

  it('previews what is new, exact to the last digit, and writes nothing', async () => {
    const answer = await preview({
      cheap: CHEAP,
      long: LONG,
      embedding: '{"mode":"embedding","input_cost_per_token":1e-7}',
      sample_spec: '{"mode":"one of: chat, embedding"}',
      noisy: '{"mode":"chat","input_cost_per_token":2.9999999999999997e-07,"output_cost_per_token":6e-07}',
    });
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({
      object: 'price_preview',
      source: 'litellm',
      digest: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      counts: { added: 3, changed: 0, unchanged: 0, skipped: 2, found: 0 },
      models: [
        {
          model: 'cheap',
          status: 'added',
          findings: [],
          is_rounded: false,
          profile: { is_reasoning: false, max_output_tokens: null },
        },
        { model: 'long', profile: { is_reasoning: true, default_output_reserve: 8192, max_output_tokens: 65535 } },
        { model: 'noisy', is_rounded: true },
      ],
      unchanged: [],
      skipped: [
        { model: 'embedding', reason: 'not_chat', field: null },
        { model: 'sample_spec', reason: 'not_chat', field: null },
      ],
    });
    const [cheap, long] = answer.body.models as { changes: unknown[] }[];
    expect(cheap?.changes).toContainEqual({
      bucket: 'input',
      above_input_tokens: null,
      before_usd: null,
      after_usd: '0.150000000',
      ratio: null,
    });
    expect(long?.changes).toContainEqual({
      bucket: 'output',
      above_input_tokens: 200_000,
      before_usd: null,
      after_usd: '15.000000000',
      ratio: null,
    });
    expect(await pricesOf('cheap')).toEqual([]);
    expect(await book.priceOf('cheap', Date.now())).toBeUndefined();
  });

  it('adds versions that price the next call, audits each, and finds nothing to do when it is sent again', async () => {
    const map = { cheap: CHEAP, long: LONG };
    const digest = await digestOf(map);
    const done = await send('import', map, { digest });
    expect([done.status, done.body]).toMatchObject([
      200,
      { object: 'price_import', source: 'litellm', imported: [{ model: 'cheap' }, { model: 'long' }], unchanged: 0 },
    ]);
    const [{ price_id: id } = { price_id: '' }] = (done.body.imported as { price_id: string }[]).slice(1);
    expect(await book.priceOf('long', Date.now())).toMatchObject({
      version: id,
      perMillionTokens: { inputUncached: 1_250_000_000n, inputCached: 1_250_000_000n, output: 10_000_000_000n },
      tiers: [{ aboveInputTokens: 200_000, perMillionTokens: { inputUncached: 2_500_000_000n } }],
    });
    expect(await book.profileOf('long')).toMatchObject({ isReasoning: true, maxOutputTokens: 65_535 });
    expect(await pricesOf('long')).toMatchObject([{ id, source: `litellm ${digest.slice(0, 16)}` }]);
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=price&entity_id=${id}`);
    expect(log).toMatchObject({ data: [{ action: 'price.create', before: null, after: { id, model: 'long' } }] });

    const again = await send('import', map, { digest });
    expect([again.status, again.body]).toMatchObject([200, { imported: [], unchanged: 2 }]);
    expect((await preview(map)).body).toMatchObject({ counts: { added: 0, changed: 0, unchanged: 2 }, models: [] });
    expect(await pricesOf('long')).toHaveLength(1);
  });

  it('shows what changes and by how much, and leaves alone what does not', async () => {
    await importAll({ cheap: CHEAP, long: LONG });
    const changed = { cheap: CHEAP.replace('6e-07', '9e-07'), long: LONG };
    const shown = await preview(changed);
    expect(shown.body).toMatchObject({
      counts: { added: 0, changed: 1, unchanged: 1, found: 0 },
      models: [
        {
          model: 'cheap',
          status: 'changed',
          changes: [
            { bucket: 'output', before_usd: '0.600000000', after_usd: '0.900000000', ratio: '1.5000' },
            { bucket: 'reasoning', ratio: '1.5000' },
            { bucket: 'audio', ratio: '1.5000' },
          ],
        },
      ],
      unchanged: ['long'],
    });
    expect((await importAll(changed)).body).toMatchObject({ imported: [{ model: 'cheap' }], unchanged: 1 });
    expect([await pricesOf('cheap'), await pricesOf('long')].map(({ length }) => length)).toEqual([2, 1]);
    const shorter = { long: LONG.replace(/"(in|out)put_cost_per_token_above[^,]*,/g, '') };
    expect((await preview(shorter)).body).toMatchObject({
      models: [
        {
          changes: [
            { above_input_tokens: 200_000, before_usd: '2.500000000', after_usd: null },
            ...Array<object>(6).fill({}),
          ],
        },
      ],
    });
  });

  it('takes what is known of a model also where its price stays, and keeps what the list does not know', async () => {
    await plane.expectAdmin(201, 'POST', 'prices', {
      model: 'cheap',
      input_usd_per_mtok: '0.15',
      output_usd_per_mtok: '0.6',
      max_output_tokens: 100,
      tokens_per_image: 77,
    });
    expect((await preview({ cheap: CHEAP })).body).toMatchObject({ unchanged: ['cheap'] });
    const better = { cheap: CHEAP.replace('"mode"', '"max_output_tokens":16384,"mode"') };
    expect((await preview(better)).body).toMatchObject({ models: [{ status: 'changed', changes: [] }] });
    const done = await importAll(better);
    expect(done.body).toMatchObject({ imported: [{ model: 'cheap', price_id: null }] });
    expect(await pricesOf('cheap')).toMatchObject([{ profile: { max_output_tokens: 16_384, tokens_per_image: 77 } }]);
    const log = await plane.expectAdmin(200, 'GET', 'audit-log?entity=price');
    expect(log).toMatchObject({
      data: [
        {
          action: 'price.update',
          before: { profile: { max_output_tokens: 100 } },
          after: { profile: { max_output_tokens: 16_384 } },
        },
        { action: 'price.create' },
      ],
    });
  });

  it('refuses what is suspicious, all or nothing, until it is accepted or left out by name', async () => {
    await importAll({ cheap: CHEAP, long: LONG });
    const slipped = {
      cheap: CHEAP.replace('6e-07', '6e-04'),
      long: LONG.replace('1e-05', '1.1e-05'),
      gratis: '{"mode":"chat","input_cost_per_token":0,"output_cost_per_token":0}',
    };
    const shown = await preview(slipped);
    expect(shown.body).toMatchObject({
      counts: { added: 1, changed: 2, found: 2 },
      models: [
        {
          model: 'cheap',
          findings: expect.arrayContaining([
            {
              code: 'unit_slip',
              bucket: 'output',
              above_input_tokens: null,
              before_usd: '0.600000000',
              after_usd: '600.000000000',
            },
          ]) as unknown,
        },
        {
          model: 'gratis',
          findings: [
            { code: 'is_zero', bucket: 'input' },
            { code: 'is_zero', bucket: 'output' },
          ],
        },
        { model: 'long', findings: [] },
      ],
    });
    const digest = textOf(shown.body, 'digest');
    for (const more of [{}, { accept: ['cheap'] }, { accept: ['long'], leave_out: ['gratis'] }]) {
      const refused = await send('import', slipped, { digest, ...more });
      expect(codeOf(refused)).toEqual([409, 'CONFLICT', 'accept']);
    }
    expect(await Promise.all(['cheap', 'long', 'gratis'].map(async (model) => (await pricesOf(model)).length))).toEqual(
      [1, 1, 0],
    );
    const done = await send('import', slipped, { digest, accept: ['cheap'], leave_out: ['gratis'] });
    expect(done.body).toMatchObject({ imported: [{ model: 'cheap' }, { model: 'long' }], left_out: ['gratis'] });
    expect((await send('import', slipped, { digest, accept: ['cheap'], leave_out: ['gratis'] })).body).toMatchObject({
      imported: [],
    });
    expect(await pricesOf('gratis')).toEqual([]);
  });

  it.each<[string, (plane: ControlPlane) => Promise<unknown>, MapText]>([
    ['the list', () => Promise.resolve(), { cheap: CHEAP.replace('6e-07', '6.1e-07') }],
    ['the list, by a model more', () => Promise.resolve(), { cheap: CHEAP, more: CHEAP }],
    [
      'the book',
      (of) =>
        of.expectAdmin(201, 'POST', 'prices', { model: 'cheap', input_usd_per_mtok: '1', output_usd_per_mtok: '1' }),
      { cheap: CHEAP },
    ],
    [
      'a profile',
      (of) =>
        of.query(
          `insert into model_profile (model, is_reasoning, default_output_reserve_tokens) values ('cheap', true, 7)`,
        ),
      { cheap: CHEAP },
    ],
  ])('imports nothing where %s is not what the preview showed', async (_, change, map) => {
    const digest = await digestOf({ cheap: CHEAP });
    await change(plane);
    const before = await pricesOf('cheap');
    expect(codeOf(await send('import', map, { digest }))).toEqual([409, 'CONFLICT', 'digest']);
    expect(await pricesOf('cheap')).toEqual(before);
  });

  it('adds one version each, however many send it at once', async () => {
    const map = { cheap: CHEAP, long: LONG };
    const digest = await digestOf(map);
    const answers = await Promise.all(Array.from({ length: 6 }, () => send('import', map, { digest })));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    const imported = answers.map(({ body }) => (body.imported as unknown[]).length).sort();
    expect(imported).toEqual([0, 0, 0, 0, 0, 2]);
    expect(await pricesOf('cheap')).toHaveLength(1);
  });

  it('is for the models and providers that are named, and for the date that is given', async () => {
    const map = { cheap: CHEAP, long: LONG };
    const named = await preview(map, { models: ['long', 'nobody'] });
    expect(named.body).toMatchObject({
      models: [{ model: 'long' }],
      skipped: [{ model: 'nobody', reason: 'not_in_list', field: null }],
    });
    expect((await preview(map, { providers: ['openai'] })).body).toMatchObject({
      models: [{ model: 'cheap' }],
      skipped: [],
    });
    const effective_from = '2099-01-01T00:00:00Z';
    const later = { models: ['long'], effective_from };
    const done = await send('import', map, { ...later, digest: await digestOf(map, later) });
    expect(done.body).toMatchObject({ imported: [{ model: 'long' }] });
    expect(await pricesOf('long')).toMatchObject([{ effective_from: '2099-01-01T00:00:00.000Z' }]);
    expect(await book.priceOf('long', Date.now())).toBeUndefined();
    expect((await preview(map, later)).body).toMatchObject({ unchanged: ['long'] });
    expect((await preview(map, { models: ['long'] })).body).toMatchObject({ models: [{ status: 'added' }] });
  });

  it('takes the list of the npm package for the providers that are named', async () => {
    const body = {
      source: 'genai-prices',
      providers: ['openai', 'anthropic'],
      models: ['gpt-4o-mini', 'claude-sonnet-4-5'],
    };
    const shown = await plane.expectAdmin(200, 'POST', 'prices/preview', body);
    expect(shown).toMatchObject({
      source: 'genai-prices 0.1.8',
      counts: { added: 2, found: 0 },
      models: [{ model: 'claude-sonnet-4-5', ignored: ['cache_write_1h_mtok', 'web_searches_kcount'] }, {}],
    });
    await plane.expectAdmin(200, 'POST', 'prices/import', { ...body, digest: shown.digest });
    expect(await book.priceOf('gpt-4o-mini', Date.now())).toMatchObject({
      perMillionTokens: { inputUncached: 150_000_000n, inputCached: 75_000_000n, output: 600_000_000n },
    });
    const whole = await plane.expectAdmin(200, 'POST', 'prices/preview', { ...body, models: undefined });
    expect(whole).toMatchObject({ unchanged: ['claude-sonnet-4-5', 'gpt-4o-mini'] });
  });

  it('takes thousands of models in one go, and a body that no other route would', async () => {
    const map = Object.fromEntries(
      Array.from({ length: 4_000 }, (_, at) => [
        `model-${at}`,
        LONG.replace('"mode"', `"source":"${'x'.repeat(200)}","mode"`),
      ]),
    );
    const done = await importAll(map);
    expect(done.status).toBe(200);
    expect(done.body.imported).toHaveLength(4_000);
    const [{ n } = { n: '' }] = await plane.query<{ n: string }>(
      `select count(*) as n from audit_log where entity = 'price'`,
    );
    expect(n).toBe('4000');
    const elsewhere = await plane.adminText('POST', 'tenants', `{"name":"${'x'.repeat(2_000_000)}"}`);
    expect(elsewhere.status).toBe(413);
    const tooMany = Object.fromEntries(Array.from({ length: 10_001 }, (_, at) => [`m${at}`, '{}']));
    expect(codeOf(await preview(tooMany))).toEqual([400, 'INVALID_REQUEST', 'price_map']);
  }, 60_000);

  it.each<[object, string]>([
    [{ source: 'else' }, 'source'],
    [{ source: 'litellm' }, 'price_map'],
    [{ source: 'litellm', price_map: [] }, 'price_map'],
    [{ source: 'litellm', price_map: { m: 1 } }, 'price_map'],
    [{ source: 'litellm', price_map: { m: null } }, 'price_map'],
    [{ source: 'genai-prices' }, 'providers'],
    [{ source: 'genai-prices', providers: [] }, 'providers'],
    [{ source: 'genai-prices', providers: ['nobody'] }, 'providers'],
    [{ source: 'genai-prices', providers: ['openai'], price_map: {} }, 'price_map'],
    [{ source: 'litellm', price_map: {}, models: [] }, 'models'],
    [{ source: 'litellm', price_map: {}, models: [null] }, 'models'],
    [{ source: 'litellm', price_map: {}, effective_from: '2020-01-01T00:00:00Z' }, 'effective_from'],
    [{ source: 'litellm', price_map: {}, accept: [] }, 'accept'],
  ])('refuses to preview %j and names the field', async (body, field) => {
    expect(codeOf(await plane.admin('POST', 'prices/preview', body))).toEqual([400, 'INVALID_REQUEST', field]);
  });

  it.each<[object, string]>([
    [{}, 'digest'],
    [{ digest: 'x' }, 'digest'],
    [{ digest: '0'.repeat(64), accept: 'cheap' }, 'accept'],
    [{ digest: '0'.repeat(64), leave_out: [null] }, 'leave_out'],
  ])('refuses to import with %j and names the field', async (more, field) => {
    expect(codeOf(await send('import', { cheap: CHEAP }, more))).toEqual([400, 'INVALID_REQUEST', field]);
  });
});
