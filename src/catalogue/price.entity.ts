import { Column, CreateDateColumn, Entity, PrimaryGeneratedColumn, type ValueTransformer } from 'typeorm';
import type { PriceTier } from './price';
import { readTiers, tiersJson } from './price-json';

/** Postgres gives bigint as text; prices are counted exactly. */
export const exactInteger: ValueTransformer = {
  to: (value: bigint) => value.toString(),
  from: (value: string) => BigInt(value),
};

const tiers: ValueTransformer = {
  to: (value: readonly PriceTier[]) => tiersJson(value),
  from: (value: unknown) => {
    const read = readTiers(value);
    if (!read) throw new Error('a price has tiers that cannot be read');
    return read;
  },
};

const price = (name: string) => ({ name, type: 'bigint', transformer: exactInteger }) as const;

/** One version of a model's price. Rows are added, never changed; the id is the version a receipt names. */
@Entity({ name: 'price' })
export class Price {
  @PrimaryGeneratedColumn('identity', { type: 'bigint' })
  id!: string;

  @Column('text')
  model!: string;

  @Column({ name: 'effective_from', type: 'timestamptz' })
  effectiveFrom!: Date;

  @Column(price('input_uncached_nano_usd_per_mtok'))
  inputUncachedNanoUsdPerMtok!: bigint;

  @Column(price('input_cached_nano_usd_per_mtok'))
  inputCachedNanoUsdPerMtok!: bigint;

  @Column(price('cache_write_nano_usd_per_mtok'))
  cacheWriteNanoUsdPerMtok!: bigint;

  @Column(price('output_nano_usd_per_mtok'))
  outputNanoUsdPerMtok!: bigint;

  @Column(price('reasoning_nano_usd_per_mtok'))
  reasoningNanoUsdPerMtok!: bigint;

  @Column(price('audio_nano_usd_per_mtok'))
  audioNanoUsdPerMtok!: bigint;

  @Column(price('image_nano_usd_per_mtok'))
  imageNanoUsdPerMtok!: bigint;

  @Column(price('per_request_nano_usd'))
  perRequestNanoUsd!: bigint;

  /** For longer calls, ascending. */
  @Column({ type: 'jsonb', transformer: tiers })
  tiers!: readonly PriceTier[];

  /** Where it came from: `manual`, or the list it was imported from. */
  @Column('text')
  source!: string;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;
}
