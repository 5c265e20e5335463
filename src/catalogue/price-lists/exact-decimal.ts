const DECIMAL = /^(\d{1,40})(?:\.(\d{1,40}))?(?:[eE]([+-]?\d{1,2}))?$/;

export interface ScaledDecimal {
  readonly value: bigint;
  /** False where it was rounded up: the text says more than the integer can. */
  readonly isExact: boolean;
}

/**
 * A number's text (`"0.15"`, `"1.5e-07"`) times 10^power as an integer, digit by digit: no float is involved. What does
 * not come out even is rounded up. Undefined for what is no number, or is negative.
 */
export function scaledDecimal(text: string, power: number): ScaledDecimal | undefined {
  const match = DECIMAL.exec(text);
  if (!match) return undefined;
  const [, whole = '', fraction = '', exponent = '0'] = match;
  const digits = BigInt(whole + fraction);
  const shift = Number(exponent) - fraction.length + power;
  if (shift >= 0) return { value: digits * 10n ** BigInt(shift), isExact: true };
  const divisor = 10n ** BigInt(-shift);
  const isExact = digits % divisor === 0n;
  return { value: digits / divisor + (isExact ? 0n : 1n), isExact };
}
