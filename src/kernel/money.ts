/**
 * Money is integer nano-USD (1e-9 USD) everywhere. A branded bigint makes it impossible to add dollars, tokens or
 * floats to it by accident; only the constructors below make one.
 */
declare const nanoUsdBrand: unique symbol;
export type NanoUsd = bigint & { readonly [nanoUsdBrand]: 'nano-USD' };

const NANO_PER_USD = 1_000_000_000n;
const DECIMAL = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?$/;

/**
 * Redis Lua compares doubles, exact to 2^53 ≈ 9.007e15 nano-USD: what one tenant's wallet has posted, its credit limit,
 * and both together must stay within this bound; API and database enforce it too.
 */
export const MAX_TENANT_NANO_USD = 9_000_000_000_000_000n as NanoUsd;

/** Whether a wallet may stand at `posted` with this credit limit (≥ 0): the same rule as the CHECK on ledger_account. */
export function isWithinTenantBound(posted: bigint, creditLimit: bigint): boolean {
  return (
    posted + MAX_TENANT_NANO_USD >= 0n &&
    creditLimit <= MAX_TENANT_NANO_USD &&
    posted + creditLimit <= MAX_TENANT_NANO_USD
  );
}

export const ZERO_NANO_USD = 0n as NanoUsd;

export class MoneyFormatError extends Error {
  override readonly name = 'MoneyFormatError';
}

/** From an integer count of nano-USD, as Postgres (`bigint` → string), Redis and our own arithmetic give it. */
export function nanoUsd(value: bigint | string): NanoUsd {
  if (typeof value === 'bigint') return value as NanoUsd;
  if (!/^-?\d{1,19}$/.test(value)) throw new MoneyFormatError(`not an integer amount of nano-USD: ${value}`);
  return BigInt(value) as NanoUsd;
}

/**
 * From a decimal USD string such as `"10"` or `"0.000123"`; at most 9 decimals, never a JSON number (floats do not touch
 * money). Throws MoneyFormatError.
 */
export function nanoUsdFromDecimal(text: string): NanoUsd {
  const match = DECIMAL.exec(text);
  if (!match) throw new MoneyFormatError('expected a decimal USD string with at most 9 decimals');
  const [, sign = '', whole = '0', fraction = ''] = match;
  const magnitude = BigInt(whole) * NANO_PER_USD + BigInt(fraction.padEnd(9, '0'));
  return (sign === '-' ? -magnitude : magnitude) as NanoUsd;
}

/** Decimal USD string with exactly 9 decimals: `"0.000123000"`. Round-trips through nanoUsdFromDecimal. */
export function toDecimalUsd(amount: NanoUsd): string {
  const negative = amount < 0n;
  const magnitude = negative ? 0n - amount : amount;
  const fraction = (magnitude % NANO_PER_USD).toString().padStart(9, '0');
  return `${negative ? '-' : ''}${magnitude / NANO_PER_USD}.${fraction}`;
}

export function addNanoUsd(a: NanoUsd, b: NanoUsd): NanoUsd {
  return (a + b) as NanoUsd;
}

export function subtractNanoUsd(a: NanoUsd, b: NanoUsd): NanoUsd {
  return (a - b) as NanoUsd;
}

/** Smallest integer ≥ numerator / denominator, for a denominator > 0. Used once a request: costs round up. */
export function ceilDiv(numerator: bigint, denominator: bigint): bigint {
  const quotient = numerator / denominator;
  return numerator % denominator > 0n ? quotient + 1n : quotient;
}

export function least(first: bigint, ...rest: readonly bigint[]): bigint {
  return rest.reduce((a, b) => (b < a ? b : a), first);
}
