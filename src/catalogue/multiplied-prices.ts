import { LRUCache } from 'lru-cache';
import type { FrozenPrice } from './price';

/** Prices × multipliers kept: what is beyond is multiplied anew. */
const MAX_KEPT = 10_000;

/**
 * Prices of callers who do not pay the book's own. One object a price and multiplier, since what a row keeps of a price is
 * rendered once an object; the book's own where the multiplier is its own, without a look.
 */
export class MultipliedPrices {
  private readonly kept = new LRUCache<string, { readonly of: FrozenPrice; readonly multiplied: FrozenPrice }>({
    max: MAX_KEPT,
  });

  of(price: FrozenPrice, multiplierMillionths: bigint): FrozenPrice {
    if (price.multiplierMillionths === multiplierMillionths) return price;
    const key = `${price.version ?? ''}*${multiplierMillionths}`;
    const known = this.kept.get(key);
    if (known?.of === price) return known.multiplied;
    const multiplied = { ...price, multiplierMillionths };
    this.kept.set(key, { of: price, multiplied });
    return multiplied;
  }
}
