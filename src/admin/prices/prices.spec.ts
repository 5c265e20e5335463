import { ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { PriceBook } from '../../catalogue/price-book';

describe('prices of the control plane', () => {
  let plane: ControlPlane;
  let book: PriceBook;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    book = plane.app.get(PriceBook);
  });
  afterAll(() => plane.stop());

  const fields = { input_usd_per_mtok: '2.50', output_usd_per_mtok: '10' };

  it('become the price of the next call at once, and older versions stay as they were', async () => {
    expect(await book.priceOf('gpt-1', Date.now())).toBeUndefined();
    const first = await plane.expectAdmin(201, 'POST', 'prices', {
      model: 'gpt-1',
      ...fields,
      per_request_usd: '0.000000001',
    });
    expect(first).toMatchObject({
      object: 'price',
      input_usd_per_mtok: '2.500000000',
      cached_input_usd_per_mtok: '2.500000000',
      reasoning_usd_per_mtok: '10.000000000',
      per_request_usd: '0.000000001',
      profile: { is_reasoning: false, default_output_reserve: 1024, max_output_tokens: null, tokens_per_image: 1500 },
    });
    expect(await book.priceOf('gpt-1', Date.now())).toMatchObject({
      version: first.id,
      perMillionTokens: { inputUncached: 2_500_000_000n, output: 10_000_000_000n },
      perRequestNanoUsd: 1n,
      multiplierMillionths: 1_000_000n,
    });
    const second = await plane.expectAdmin(201, 'POST', 'prices', {
      model: 'gpt-1',
      ...fields,
      cached_input_usd_per_mtok: '0.1',
    });
    expect(await book.priceOf('gpt-1', Date.now())).toMatchObject({ version: second.id });
    const list = await plane.expectAdmin(200, 'GET', 'prices?model=gpt-1');
    expect(list.data).toEqual([second, first]);
  });

  it('take effect at their date and not before, from memory', async () => {
    const now = await plane.expectAdmin(201, 'POST', 'prices', { model: 'gpt-2', ...fields });
    const later = await plane.expectAdmin(201, 'POST', 'prices', {
      model: 'gpt-2',
      input_usd_per_mtok: '1',
      output_usd_per_mtok: '1',
      effective_from: '2099-01-01T00:00:00Z',
    });
    const fromMs = Date.parse('2099-01-01T00:00:00Z');
    // The feed may still announce both versions: memory counts once it has.
    const deadline = performance.now() + 5_000;
    while (book.priceOf('gpt-2', fromMs) instanceof Promise && performance.now() < deadline) {
      await book.priceOf('gpt-2', fromMs);
    }
    const versions = [Date.now(), fromMs - 1, fromMs].map((atMs) => {
      const price = book.priceOf('gpt-2', atMs);
      if (price instanceof Promise) throw new Error('the price was not in memory');
      return price?.version;
    });
    expect(versions).toEqual([now.id, now.id, later.id]);
    expect(book.priceOf('gpt-2', 0)).toBeUndefined();
  });

  it('describe the model: what is left out stays, a reasoning model reserves more', async () => {
    const described = { model: 'o-1', ...fields, is_reasoning: true, max_output_tokens: 100_000 };
    await plane.expectAdmin(201, 'POST', 'prices', described);
    const expected = { model: 'o-1', isReasoning: true, defaultOutputReserveTokens: 8192, maxOutputTokens: 100_000 };
    expect(await book.profileOf('o-1')).toMatchObject(expected);
    await plane.expectAdmin(201, 'POST', 'prices', { model: 'o-1', ...fields });
    expect(await book.profileOf('o-1')).toMatchObject(expected);
    await plane.expectAdmin(201, 'POST', 'prices', { model: 'o-1', ...fields, default_output_reserve: 50 });
    expect(await book.profileOf('o-1')).toMatchObject({ ...expected, defaultOutputReserveTokens: 50 });
    expect(await book.profileOf('unheard-of')).toMatchObject({ isReasoning: false, defaultOutputReserveTokens: 1024 });
  });

  it.each([
    [{ input_usd_per_mtok: 2.5 }, 'input_usd_per_mtok', /string.*not a JSON number/],
    [{ input_usd_per_mtok: undefined }, 'input_usd_per_mtok', /decimal USD string/],
    [{ output_usd_per_mtok: '1e1' }, 'output_usd_per_mtok', /decimal USD string/],
    [{ reasoning_usd_per_mtok: '-1' }, 'reasoning_usd_per_mtok', /between 0 and 100,000/],
    [{ image_usd_per_mtok: '100001' }, 'image_usd_per_mtok', /between 0 and 100,000/],
    [{ cache_write_usd_per_mtok: null }, 'cache_write_usd_per_mtok', /decimal USD string/],
    [{ per_request_usd: ['1'] }, 'per_request_usd', /decimal USD string/],
    [{ effective_from: '2020-01-01T00:00:00Z' }, 'effective_from', /past/],
    [{ effective_from: '2099-01-01' }, 'effective_from', /zone/],
    [{ default_output_reserve: 0 }, 'default_output_reserve', /less than 1/],
    [{ model: ' m' }, 'model', /blank/],
    [{ multiplier: 2 }, 'multiplier', /should not exist/],
  ])('refuse %j and name the field', async (wrong, field, reason) => {
    const answer = await plane.admin('POST', 'prices', { model: 'm', ...fields, ...wrong });
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
    expect(String(errorOf(answer).message)).toMatch(reason);
  });

  it('have tiers by the length of the input, each with a price for every bucket', async () => {
    const created = await plane.expectAdmin(201, 'POST', 'prices', {
      model: 'long-1',
      ...fields,
      tiers: [
        { above_input_tokens: 128_000, ...fields, cached_input_usd_per_mtok: '0.000000001' },
        { above_input_tokens: 200_000, input_usd_per_mtok: '5', output_usd_per_mtok: '15' },
      ],
    });
    expect(created).toMatchObject({
      source: 'manual',
      tiers: [
        { above_input_tokens: 128_000, input_usd_per_mtok: '2.500000000', cached_input_usd_per_mtok: '0.000000001' },
        { above_input_tokens: 200_000, cache_write_usd_per_mtok: '5.000000000', audio_usd_per_mtok: '15.000000000' },
      ],
    });
    const list = await plane.expectAdmin(200, 'GET', 'prices?model=long-1');
    expect(list.data).toEqual([created]);
    expect(await book.priceOf('long-1', Date.now())).toMatchObject({
      tiers: [
        { aboveInputTokens: 128_000, perMillionTokens: { inputUncached: 2_500_000_000n, inputCached: 1n } },
        { aboveInputTokens: 200_000, perMillionTokens: { inputUncached: 5_000_000_000n, reasoning: 15_000_000_000n } },
      ],
    });
    expect(await plane.expectAdmin(201, 'POST', 'prices', { model: 'long-1', ...fields })).toMatchObject({ tiers: [] });
  });

  it.each([
    [[{ above_input_tokens: 1 }], 'tiers[0].input_usd_per_mtok'],
    [[{ above_input_tokens: 0, ...fields }], 'tiers[0].above_input_tokens'],
    [[{ above_input_tokens: 1.5, ...fields }], 'tiers[0].above_input_tokens'],
    [[{ above_input_tokens: 1_000_000_001, ...fields }], 'tiers[0].above_input_tokens'],
    [[fields], 'tiers[0].above_input_tokens'],
    [[{ above_input_tokens: 1, ...fields, output_usd_per_mtok: '-1' }], 'tiers[0].output_usd_per_mtok'],
    [[{ above_input_tokens: 1, ...fields, per_request_usd: '1' }], 'tiers[0].per_request_usd'],
    [[2, 1].map((above_input_tokens) => ({ above_input_tokens, ...fields })), 'tiers[1].above_input_tokens'],
    [[1, 1].map((above_input_tokens) => ({ above_input_tokens, ...fields })), 'tiers[1].above_input_tokens'],
    [Array.from({ length: 17 }, (_, at) => ({ above_input_tokens: at + 1, ...fields })), 'tiers'],
    [{ above_input_tokens: 1, ...fields }, 'tiers'],
    [['tier'], 'tiers'],
    [null, 'tiers'],
  ])('refuse the tiers %j and name the field', async (tiers, field) => {
    const answer = await plane.admin('POST', 'prices', { model: 'm', ...fields, tiers });
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
  });

  it('are added by the application and never changed by it', async () => {
    const created = await plane.expectAdmin(201, 'POST', 'prices', { model: 'kept', ...fields });
    await expect(plane.query('update price set model = $2 where id = $1', [created.id, 'taken'])).rejects.toThrow(
      /permission denied/,
    );
  });

  it('are audited with the version they replace', async () => {
    const first = await plane.expectAdmin(201, 'POST', 'prices', { model: 'audited', ...fields });
    const second = await plane.expectAdmin(201, 'POST', 'prices', { model: 'audited', ...fields });
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=price&entity_id=${textOf(second, 'id')}`);
    expect(log).toMatchObject({
      data: [{ action: 'price.create', before: { id: first.id }, after: { id: second.id } }],
    });
  });
});
