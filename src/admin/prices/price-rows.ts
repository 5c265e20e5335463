import type { EntityManager } from 'typeorm';
import { defaultProfile } from '../../catalogue/default-profile';
import { ModelProfileRow } from '../../catalogue/model-profile.entity';
import type { BucketPrices, ModelProfile } from '../../catalogue/price';
import { Price } from '../../catalogue/price.entity';

const EVERY_MODEL = `hashtextextended('prices', 0)`;

/** Until the transaction ends, nobody else adds a version of this model's price. */
export async function lockModel(manager: EntityManager, model: string): Promise<void> {
  await manager.query(`select pg_advisory_xact_lock_shared(${EVERY_MODEL})`);
  await manager.query(`select pg_advisory_xact_lock(hashtextextended('price:' || $1, 0))`, [model]);
}

/** Of any model's: one lock, however many models there are. */
export async function lockEveryModel(manager: EntityManager): Promise<void> {
  await manager.query(`select pg_advisory_xact_lock(${EVERY_MODEL})`);
}

export function newestPrice(manager: EntityManager, model: string): Promise<Price | null> {
  return manager.findOne(Price, { where: { model }, order: { id: 'DESC' } });
}

export async function profileOf(manager: EntityManager, model: string): Promise<ModelProfile> {
  return (await manager.findOneBy(ModelProfileRow, { model })) ?? defaultProfile(model);
}

export function priceColumnsOf(prices: BucketPrices): Partial<Price> {
  return {
    inputUncachedNanoUsdPerMtok: prices.inputUncached,
    inputCachedNanoUsdPerMtok: prices.inputCached,
    cacheWriteNanoUsdPerMtok: prices.cacheWrite,
    outputNanoUsdPerMtok: prices.output,
    reasoningNanoUsdPerMtok: prices.reasoning,
    audioNanoUsdPerMtok: prices.audio,
    imageNanoUsdPerMtok: prices.image,
  };
}

export function bucketPricesOfRow(row: Price): BucketPrices {
  return {
    inputUncached: row.inputUncachedNanoUsdPerMtok,
    inputCached: row.inputCachedNanoUsdPerMtok,
    cacheWrite: row.cacheWriteNanoUsdPerMtok,
    output: row.outputNanoUsdPerMtok,
    reasoning: row.reasoningNanoUsdPerMtok,
    audio: row.audioNanoUsdPerMtok,
    image: row.imageNanoUsdPerMtok,
  };
}
