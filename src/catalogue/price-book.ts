import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import type { Pool } from 'pg';
import { nanoUsd } from '../kernel/money';
import { Singleflight } from '../kernel/singleflight';
import { ChangeFeed } from '../platform/database/change-feed';
import { PG_POOL } from '../platform/database/pg-pool';
import { defaultProfile } from './default-profile';
import { MultipliedPrices } from './multiplied-prices';
import { type FrozenPrice, type ModelProfile, UNSCALED_MULTIPLIER_MILLIONTHS } from './price';
import { readTiers } from './price-json';

/** Model names come from clients: those that nobody prices are remembered too, and pushed out by use. */
const MAX_MODELS = 10_000;
/** Newest versions kept of one model; a call is priced at the present, so older ones are history. */
const MAX_VERSIONS = 1_000;

interface PriceRow {
  readonly id: string;
  readonly effective_from: Date;
  readonly input_uncached: string;
  readonly input_cached: string;
  readonly cache_write: string;
  readonly output: string;
  readonly reasoning: string;
  readonly audio: string;
  readonly image: string;
  readonly per_request: string;
  readonly tiers: unknown;
}

interface ProfileRow {
  readonly is_reasoning: boolean;
  readonly default_output_reserve_tokens: number;
  readonly max_output_tokens: number | null;
  readonly tokens_per_image: number;
}

interface PriceVersion {
  readonly effectiveFromMs: number;
  readonly price: FrozenPrice;
}

interface Entry {
  /** Newest first. */
  readonly versions: readonly PriceVersion[];
  readonly profile: ModelProfile;
}

/**
 * Prices and profiles by model: from memory while the change feed is live, from Postgres (once for all who ask at the
 * same time) otherwise. Methods return a promise only where memory does not know; it rejects where Postgres does not answer.
 */
@Injectable()
export class PriceBook implements OnModuleInit {
  private readonly entries = new LRUCache<string, Entry>({ max: MAX_MODELS });
  private readonly loads = new Singleflight<Entry>();
  private readonly multiplied = new MultipliedPrices();
  /** Counts changes: what was read before one of them is neither kept after it nor given to who asks after it. */
  private changes = 0;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly feed: ChangeFeed,
  ) {}

  onModuleInit(): void {
    const listener = {
      changed: (model: string): void => {
        this.changed(model);
      },
      lost: (): void => {
        this.changes += 1;
        this.entries.clear();
      },
    };
    this.feed.subscribe('price', listener);
    this.feed.subscribe('model_profile', listener);
  }

  /** Also for who just committed a change and wants the next call here priced by it, without waiting for the feed. */
  changed(model: string): void {
    this.changes += 1;
    this.entries.delete(model);
  }

  /**
   * The price in force at this instant, frozen for one call of somebody who pays it times the multiplier; undefined where
   * the model has none (yet).
   */
  priceOf(
    model: string,
    atMs: number,
    multiplierMillionths = UNSCALED_MULTIPLIER_MILLIONTHS,
  ): FrozenPrice | undefined | Promise<FrozenPrice | undefined> {
    const entry = this.remembered(model);
    if (!entry) return this.load(model).then((loaded) => this.priceAt(loaded, atMs, multiplierMillionths));
    return this.priceAt(entry, atMs, multiplierMillionths);
  }

  /** Never undefined: a model without a profile of its own has the defaults. */
  profileOf(model: string): ModelProfile | Promise<ModelProfile> {
    return this.remembered(model)?.profile ?? this.load(model).then(({ profile }) => profile);
  }

  private priceAt(entry: Entry, atMs: number, multiplierMillionths: bigint): FrozenPrice | undefined {
    const price = entry.versions.find(({ effectiveFromMs }) => effectiveFromMs <= atMs)?.price;
    return price && this.multiplied.of(price, multiplierMillionths);
  }

  /** One version, whatever its date; undefined where there is none. Always read: no call waits for it. */
  async versionOf(id: string): Promise<{ readonly model: string; readonly price: FrozenPrice } | undefined> {
    const { rows } = await this.pool.query<PriceRow & { model: string }>(
      `select model, ${PRICE_COLUMNS} from price where id = $1`,
      [id],
    );
    const [row] = rows;
    return row && { model: row.model, price: versionOf(row).price };
  }

  private remembered(model: string): Entry | undefined {
    return this.feed.isLive ? this.entries.get(model) : undefined;
  }

  private load(model: string): Promise<Entry> {
    const changesBefore = this.changes;
    const wasLive = this.feed.isLive;
    return this.loads.run(`${changesBefore}:${model}`, async () => {
      const entry = await this.read(model);
      if (wasLive && changesBefore === this.changes) this.entries.set(model, entry);
      return entry;
    });
  }

  private async read(model: string): Promise<Entry> {
    const [prices, profiles] = await Promise.all([
      this.pool.query<PriceRow>({ name: 'prices-of-model', text: PRICES_OF_MODEL, values: [model] }),
      this.pool.query<ProfileRow>({ name: 'profile-of-model', text: PROFILE_OF_MODEL, values: [model] }),
    ]);
    const [profile] = profiles.rows;
    return {
      versions: prices.rows.map(versionOf),
      profile: profile ? profileFrom(model, profile) : defaultProfile(model),
    };
  }
}

const PRICE_COLUMNS = `
       id, effective_from,
       input_uncached_nano_usd_per_mtok as input_uncached, input_cached_nano_usd_per_mtok as input_cached,
       cache_write_nano_usd_per_mtok as cache_write, output_nano_usd_per_mtok as output,
       reasoning_nano_usd_per_mtok as reasoning, audio_nano_usd_per_mtok as audio,
       image_nano_usd_per_mtok as image, per_request_nano_usd as per_request, tiers`;

const PRICES_OF_MODEL = `
select ${PRICE_COLUMNS}
  from price where model = $1
 order by effective_from desc, id desc limit ${MAX_VERSIONS}`;

const PROFILE_OF_MODEL = `
select is_reasoning, default_output_reserve_tokens, max_output_tokens, tokens_per_image
  from model_profile where model = $1`;

function versionOf(row: PriceRow): PriceVersion {
  const tiers = readTiers(row.tiers);
  // A price whose tiers this process cannot read is none: cheaper than it is, it must not be served.
  if (!tiers) throw new Error(`price ${row.id} has tiers that cannot be read`);
  return {
    effectiveFromMs: row.effective_from.getTime(),
    price: {
      version: row.id,
      perMillionTokens: {
        inputUncached: BigInt(row.input_uncached),
        inputCached: BigInt(row.input_cached),
        cacheWrite: BigInt(row.cache_write),
        output: BigInt(row.output),
        reasoning: BigInt(row.reasoning),
        audio: BigInt(row.audio),
        image: BigInt(row.image),
      },
      tiers,
      perRequestNanoUsd: nanoUsd(row.per_request),
      multiplierMillionths: UNSCALED_MULTIPLIER_MILLIONTHS,
    },
  };
}

function profileFrom(model: string, row: ProfileRow): ModelProfile {
  return {
    model,
    isReasoning: row.is_reasoning,
    defaultOutputReserveTokens: row.default_output_reserve_tokens,
    maxOutputTokens: row.max_output_tokens,
    tokensPerImage: row.tokens_per_image,
  };
}
