import { type EntityManager, In } from 'typeorm';
import { defaultProfile } from '../../../catalogue/default-profile';
import { ModelProfileRow } from '../../../catalogue/model-profile.entity';
import type { ModelProfile } from '../../../catalogue/price';
import { Price } from '../../../catalogue/price.entity';
import type { Standing } from '../../../catalogue/price-lists/price-diff';
import { bucketPricesOfRow } from '../price-rows';

/** What the book has of many models, as of an instant. */
export class StandingPrices {
  private constructor(
    private readonly prices: ReadonlyMap<string, Price>,
    private readonly profiles: ReadonlyMap<string, ModelProfileRow>,
  ) {}

  static async read(manager: EntityManager, models: readonly string[], at: Date): Promise<StandingPrices> {
    const prices = await manager
      .createQueryBuilder(Price, 'price')
      .distinctOn(['price.model'])
      .where('price.model = any(:models)', { models })
      .andWhere('price.effectiveFrom <= :at', { at })
      .orderBy({ 'price.model': 'ASC', 'price.effectiveFrom': 'DESC', 'price.id': 'DESC' })
      .getMany();
    const profiles = await manager.findBy(ModelProfileRow, { model: In(models) });
    return new StandingPrices(
      new Map(prices.map((price) => [price.model, price])),
      new Map(profiles.map((profile) => [profile.model, profile])),
    );
  }

  /** In force at the instant. */
  rowOf(model: string): Price | undefined {
    return this.prices.get(model);
  }

  profileOf(model: string): ModelProfile {
    return this.profiles.get(model) ?? defaultProfile(model);
  }

  of(model: string): Standing {
    const row = this.prices.get(model);
    const price = row && {
      version: row.id,
      perMillionTokens: bucketPricesOfRow(row),
      tiers: row.tiers,
      perRequestNanoUsd: row.perRequestNanoUsd,
    };
    return { price, profile: this.profileOf(model) };
  }
}
