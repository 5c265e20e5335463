import 'reflect-metadata';
import { Test, type TestingModule } from '@nestjs/testing';
import { Client, type Pool } from 'pg';
import { createTestDatabase, type TestDatabase } from '../../test/support/test-database';
import { testSettings } from '../../test/support/test-settings';
import { SettingsModule } from '../platform/config/settings.module';
import { CHANGE_FEED_TIMING, ChangeFeed } from '../platform/database/change-feed';
import { DatabaseModule } from '../platform/database/database.module';
import { PG_POOL } from '../platform/database/pg-pool';
import { CatalogueModule } from './catalogue.module';
import { TOKEN_BUCKETS } from './price';
import { PriceBook } from './price-book';
import { BUCKET_NAMES } from './price-json';

const NOW_MS = Date.parse('2026-06-15T12:00:00Z');
const at = (offsetMs: number): Date => new Date(NOW_MS + offsetMs);

async function startInstance(databaseUrl: string): Promise<TestingModule> {
  const module = await Test.createTestingModule({
    imports: [SettingsModule.register(testSettings({ databaseUrl })), DatabaseModule, CatalogueModule],
  })
    .overrideProvider(CHANGE_FEED_TIMING)
    .useValue({ beatMs: 50, silenceMs: 400, firstRetryMs: 600, lastRetryMs: 600 })
    .compile();
  module.useLogger(false);
  return module.init();
}

/** Repeats until it holds. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error('it never came true');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const oneOfEach = (price: string): object =>
  Object.fromEntries(TOKEN_BUCKETS.map((bucket) => [BUCKET_NAMES[bucket], price]));

describe('PriceBook', () => {
  let database: TestDatabase;
  let module: TestingModule;
  let book: PriceBook;
  /** Another process: nothing but the feed tells the book of what it does. */
  let elsewhere: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    module = await startInstance(database.url);
    book = module.get(PriceBook);
    elsewhere = new Client({ connectionString: database.url });
    await elsewhere.connect();
  });
  afterAll(async () => {
    await elsewhere.end();
    await module.close();
    await database.drop();
  });

  async function addPrice(model: string, nanoUsdPerMtok: number, effectiveFrom: Date): Promise<string> {
    const { rows } = await elsewhere.query<{ id: string }>(
      `insert into price (model, effective_from, input_uncached_nano_usd_per_mtok, input_cached_nano_usd_per_mtok,
                          cache_write_nano_usd_per_mtok, output_nano_usd_per_mtok, reasoning_nano_usd_per_mtok,
                          audio_nano_usd_per_mtok, image_nano_usd_per_mtok)
         values ($1, $2, $3, $3, $3, $3, $3, $3, $3) returning id`,
      [model, effectiveFrom, nanoUsdPerMtok],
    );
    return rows[0]?.id ?? '';
  }

  const versionOf = async (model: string, offsetMs = 0): Promise<string | null | undefined> =>
    (await book.priceOf(model, NOW_MS + offsetMs))?.version;

  it('chooses the latest version in force, of two with one date the later row', async () => {
    const past = await addPrice('m1', 1, at(-2_000));
    const future = await addPrice('m1', 2, at(2_000));
    const wrong = await addPrice('m1', 3, at(-1_000));
    const corrected = await addPrice('m1', 4, at(-1_000));
    expect(Number(corrected)).toBeGreaterThan(Number(wrong));
    const offsets = [-2_001, -2_000, -1_001, -1_000, 0, 1_999, 2_000];
    const versions = await Promise.all(offsets.map((offsetMs) => versionOf('m1', offsetMs)));
    expect(versions).toEqual([undefined, past, past, corrected, corrected, corrected, future]);
  });

  it('hears of a price that another process added, also for a model it knew to have none', async () => {
    await until(async () => {
      await book.priceOf('m2', NOW_MS);
      return book.priceOf('m2', NOW_MS) === undefined;
    });
    const first = await addPrice('m2', 1, at(-10));
    await until(async () => (await versionOf('m2')) === first);
    const second = await addPrice('m2', 2, at(-5));
    await until(async () => (await versionOf('m2')) === second);
  });

  it('reads tiers as they are written', async () => {
    const id = await addPrice('m7', 1, at(-10));
    const tiers = [
      { above_input_tokens: 128_000, ...oneOfEach('2') },
      { above_input_tokens: 200_000, ...oneOfEach('3') },
    ];
    await elsewhere.query('update price set tiers = $2 where id = $1', [id, JSON.stringify(tiers)]);
    book.changed('m7');
    const tierOf = (aboveInputTokens: number, price: bigint): object => ({
      aboveInputTokens,
      perMillionTokens: Object.fromEntries(TOKEN_BUCKETS.map((bucket) => [bucket, price])),
    });
    expect((await book.priceOf('m7', NOW_MS))?.tiers).toEqual([tierOf(128_000, 2n), tierOf(200_000, 3n)]);
  });

  it('gives one object a version and multiplier, and its own to who pays once', async () => {
    await addPrice('m8', 1, at(-10));
    await until(async () => {
      await book.priceOf('m8', NOW_MS);
      return !(book.priceOf('m8', NOW_MS) instanceof Promise);
    });
    const own = book.priceOf('m8', NOW_MS);
    expect(book.priceOf('m8', NOW_MS, 1_000_000n)).toBe(own);
    const cheaper = book.priceOf('m8', NOW_MS, 850_000n);
    expect(cheaper).toEqual({ ...(await own), multiplierMillionths: 850_000n });
    expect(book.priceOf('m8', NOW_MS, 850_000n)).toBe(cheaper);
    expect(book.priceOf('m8', NOW_MS, 900_000n)).toMatchObject({ multiplierMillionths: 900_000n });
    expect(book.priceOf('m8', NOW_MS)).toBe(own);
  });

  it('hears of a changed profile', async () => {
    expect(await book.profileOf('m3')).toMatchObject({ defaultOutputReserveTokens: 1024, maxOutputTokens: null });
    await elsewhere.query(
      `insert into model_profile (model, is_reasoning, default_output_reserve_tokens) values ('m3', true, 77)`,
    );
    await until(async () => (await book.profileOf('m3')).defaultOutputReserveTokens === 77);
  });

  it('reads a model once for all who ask at the same time', async () => {
    const query = jest.spyOn(module.get<Pool>(PG_POOL), 'query');
    try {
      await addPrice('m4', 1, at(-10));
      const before = query.mock.calls.length;
      await Promise.all(Array.from({ length: 300 }, () => versionOf('m4')));
      // One for prices and one for the profile; twice that if the announcement of the price came in between.
      expect(query.mock.calls.length - before).toBeLessThanOrEqual(4);
    } finally {
      query.mockRestore();
    }
  });

  it('does not keep what it read before it heard of a change', async () => {
    await addPrice('m5', 1, at(-10));
    const reading = versionOf('m5');
    book.changed('m5');
    await reading;
    expect(book.priceOf('m5', NOW_MS)).toBeInstanceOf(Promise);
  });

  it('believes nothing in memory while the feed is away', async () => {
    const first = await addPrice('m6', 1, at(-10));
    await until(async () => {
      await book.priceOf('m6', NOW_MS);
      return !(book.priceOf('m6', NOW_MS) instanceof Promise);
    });
    const feed = module.get(ChangeFeed);
    await elsewhere.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'tollgate-changes' and datname = current_database()`,
    );
    await until(() => !feed.isLive);
    expect(await versionOf('m6')).toBe(first);
    const second = await addPrice('m6', 2, at(-5));
    expect(feed.isLive).toBe(false);
    expect(await versionOf('m6')).toBe(second);
    expect(book.priceOf('m6', NOW_MS)).toBeInstanceOf(Promise);
    await until(() => feed.isLive);
  });
});
