import { NO_TOKENS } from '../catalogue/price';
import { readPrices } from '../catalogue/price-json';
import { type EndFields, settleFields, SWEPT_END_REASON, voidFields } from '../billing/writer/charge-rows';
import { readCheckpoint } from '../billing/writer/checkpoint';
import type { Settings } from '../platform/config/settings';

/** What the sweeper reads of a charge. */
export interface ChargeRow {
  readonly id: string;
  readonly tenant_id: string;
  readonly status: 'PENDING' | 'COMMITTED' | 'VOIDED';
  readonly credit_limit_nano_usd: string;
  readonly price_version: string | null;
  readonly prices: unknown;
  readonly checkpoint: unknown;
  readonly input_tokens_estimate: string;
}

export const CHARGE_ROW =
  'id, tenant_id, status, credit_limit_nano_usd, price_version, prices, checkpoint, input_tokens_estimate';

const REASON_CODE = 'PROCESS_DEAD';

/** Nothing is charged. */
export const SWEPT_VOID: EndFields = voidFields({ reasonCode: REASON_CODE, endReason: SWEPT_END_REASON });

/**
 * How a dead process' open charge ends: it costs what its last checkpoint says was delivered, by the prices frozen in it.
 * One without a checkpoint was not streamed, or died young; whether its input was used nobody knows, so the policy says
 * whether that is charged, as it was estimated for the hold. What cannot be read charges nothing.
 */
export function sweptEnding(row: ChargeRow, policy: Settings['deadChargePolicy']): EndFields {
  const delivered = readCheckpoint(row.checkpoint) ?? (policy === 'charge_input' ? inputOf(row) : undefined);
  const price = readPrices(row.prices, row.price_version);
  if (!delivered || !price) return SWEPT_VOID;
  const { amount, ...fields } = settleFields(price, { ...delivered, endReason: SWEPT_END_REASON });
  return { ...fields, amount_nano_usd: amount.toString(), reason_code: REASON_CODE };
}

function inputOf({ input_tokens_estimate }: ChargeRow): Pick<Parameters<typeof settleFields>[1], 'tokens' | 'method'> {
  return { tokens: { ...NO_TOKENS, inputUncached: Number(input_tokens_estimate) }, method: 'estimated' };
}
