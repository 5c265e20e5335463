import {
  costOf,
  type FrozenPrice,
  pricesInForce,
  type PriceTier,
  TOKEN_BUCKETS,
  type TokenBucket,
  type TokenCounts,
} from '../../catalogue/price';
import { type NanoUsd, toDecimalUsd, nanoUsd } from '../../kernel/money';

const MILLION = 1_000_000n;
/** Prices are nano-USD a million tokens and multipliers millionths: every part of a cost is whole in 10⁻²¹ USD. */
const DECIMALS = 21;
const UNITS_PER_NANO_USD = MILLION * MILLION;
/** As every other amount has. */
const LEAST_DECIMALS = 9;

/** One part of a cost. Amounts are exact, unrounded decimal USD strings; all lines together are the total. */
export type ReceiptLine =
  | {
      readonly kind: 'tokens';
      readonly bucket: TokenBucket;
      readonly tokens: number;
      readonly usdPerMtok: string;
      readonly amountUsd: string;
    }
  | { readonly kind: 'per_request'; readonly amountUsd: string }
  /** What the multiplier adds to (or takes from) the lines above. */
  | { readonly kind: 'multiplier'; readonly multiplier: string; readonly amountUsd: string }
  /** What the one rounding, up to a whole nano-USD, adds. */
  | { readonly kind: 'rounding'; readonly amountUsd: string };

/**
 * The arithmetic of one charge, line by line: a line for each bucket that has tokens, one for the request, one for a
 * multiplier other than 1, and always exactly one for the rounding. They sum to `costOf(tokens, price)`.
 */
export function receiptLines(tokens: TokenCounts, price: FrozenPrice): readonly ReceiptLine[] {
  const prices = pricesInForce(price, tokens);
  const lines: ReceiptLine[] = [];
  let units = 0n;
  for (const bucket of TOKEN_BUCKETS) {
    const count = tokens[bucket];
    if (count === 0) continue;
    const amount = BigInt(count) * prices[bucket] * MILLION;
    units += amount;
    const usdPerMtok = toDecimalUsd(nanoUsd(prices[bucket]));
    lines.push({ kind: 'tokens', bucket, tokens: count, usdPerMtok, amountUsd: exactUsd(amount) });
  }
  if (price.perRequestNanoUsd > 0n) {
    const amount = price.perRequestNanoUsd * UNITS_PER_NANO_USD;
    units += amount;
    lines.push({ kind: 'per_request', amountUsd: exactUsd(amount) });
  }
  if (price.multiplierMillionths !== MILLION) {
    // What it multiplies is whole in 10⁻¹⁵ USD.
    const amount = (units / MILLION) * (price.multiplierMillionths - MILLION);
    units += amount;
    const multiplier = multiplierOf(price);
    lines.push({ kind: 'multiplier', multiplier, amountUsd: exactUsd(amount) });
  }
  lines.push({ kind: 'rounding', amountUsd: exactUsd(costOf(tokens, price) * UNITS_PER_NANO_USD - units) });
  return lines;
}

/** Decimal, such as `1.5`. */
export function multiplierOf({ multiplierMillionths }: FrozenPrice): string {
  return decimal(multiplierMillionths, 6, 1);
}

/** The tier that priced the whole call; undefined where the price's own buckets did. */
export function tierInForce(tokens: TokenCounts, price: FrozenPrice): PriceTier | undefined {
  const inForce = pricesInForce(price, tokens);
  return price.tiers.find(({ perMillionTokens }) => perMillionTokens === inForce);
}

/** The sum of lines, which is a whole number of nano-USD; throws where it is not. */
export function sumOfLines(lines: readonly ReceiptLine[]): NanoUsd {
  const units = lines.reduce((sum, { amountUsd }) => sum + unitsOf(amountUsd), 0n);
  if (units % UNITS_PER_NANO_USD !== 0n) throw new Error('the lines of a receipt do not sum to a whole nano-USD');
  return nanoUsd(units / UNITS_PER_NANO_USD);
}

function exactUsd(units: bigint): string {
  return decimal(units, DECIMALS, LEAST_DECIMALS);
}

/** Zeros at the end are left out down to `leastDecimals`. */
function decimal(value: bigint, decimals: number, leastDecimals: number): string {
  const digits = (value < 0n ? -value : value).toString().padStart(decimals + 1, '0');
  const fraction = digits.slice(-decimals).replace(/0+$/, '').padEnd(leastDecimals, '0');
  return `${value < 0n ? '-' : ''}${digits.slice(0, -decimals)}.${fraction}`;
}

function unitsOf(amountUsd: string): bigint {
  const [whole = '', fraction = ''] = amountUsd.replace('-', '').split('.');
  const magnitude = BigInt(whole + fraction.padEnd(DECIMALS, '0'));
  return amountUsd.startsWith('-') ? -magnitude : magnitude;
}
