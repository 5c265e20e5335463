import type { SettledCharge } from '../billing/charge';
import { toDecimalUsd } from '../kernel/money';

/** What a whole answer says of its cost. */
export function costHeaders(charged: SettledCharge): Record<string, string> {
  return {
    'x-tollgate-cost-usd': toDecimalUsd(charged.amount),
    'x-tollgate-balance-usd': toDecimalUsd(charged.posted),
  };
}

/** What a stream says of it, in a comment before its last frame. */
export function costComment(charged: SettledCharge): string {
  return `tollgate cost_usd=${toDecimalUsd(charged.amount)} balance_usd=${toDecimalUsd(charged.posted)}`;
}
