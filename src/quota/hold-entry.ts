import { type NanoUsd, nanoUsd } from '../kernel/money';

/** One field of the tenant's holds hash; see redis-scripts/quota_deduct.lua for who writes it. */
export interface HoldEntry {
  readonly amount: NanoUsd;
  readonly dayStartMs: number;
  readonly monthStartMs: number;
  readonly processId: string;
  readonly reservedAtMs: number;
  readonly balanceBefore: NanoUsd;
  readonly usedToday: number;
  readonly usedThisMonth: number;
}

export function formatHoldEntry(entry: HoldEntry): string {
  return [
    entry.amount,
    entry.dayStartMs,
    entry.monthStartMs,
    entry.processId,
    entry.reservedAtMs,
    entry.balanceBefore,
    entry.usedToday,
    entry.usedThisMonth,
  ].join('|');
}

/** Throws where the text is not an entry: a projection that cannot be read must be rebuilt, not guessed. */
export function parseHoldEntry(text: string): HoldEntry {
  const [amount, day, month, processId, reservedAt, before, usedToday, usedThisMonth, ...rest] = text.split('|');
  if (
    amount === undefined ||
    processId === undefined ||
    before === undefined ||
    usedThisMonth === undefined ||
    rest.length > 0
  ) {
    throw new Error(`not a hold entry: ${text}`);
  }
  return {
    amount: nanoUsd(amount),
    dayStartMs: Number(day),
    monthStartMs: Number(month),
    processId,
    reservedAtMs: Number(reservedAt),
    balanceBefore: nanoUsd(before),
    usedToday: Number(usedToday),
    usedThisMonth: Number(usedThisMonth),
  };
}
