const MILLION = 1_000_000n;
const DECIMAL = /^(\d{1,3})(?:\.(\d{1,6}))?$/;

/** The database has the same bounds. */
const MAX_MULTIPLIER = 100n;

export class MultiplierFormatError extends Error {
  override readonly name = 'MultiplierFormatError';
}

/**
 * What people write (`"0.85"`) as integer millionths, read as text. Above 0, since what is free has no price; at most 100.
 * Throws MultiplierFormatError.
 */
export function multiplierMillionthsOf(text: string): bigint {
  const match = DECIMAL.exec(text);
  if (!match) throw new MultiplierFormatError('expected a decimal string with at most 6 decimals');
  const [, whole = '0', fraction = ''] = match;
  const millionths = BigInt(whole) * MILLION + BigInt(fraction.padEnd(6, '0'));
  if (millionths === 0n || millionths > MAX_MULTIPLIER * MILLION) {
    throw new MultiplierFormatError(`expected a multiplier above 0 and up to ${MAX_MULTIPLIER}`);
  }
  return millionths;
}

/** With exactly 6 decimals: `"0.850000"`. */
export function toDecimalMultiplier(millionths: bigint): string {
  return `${millionths / MILLION}.${(millionths % MILLION).toString().padStart(6, '0')}`;
}
