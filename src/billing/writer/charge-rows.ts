import { costOf, type FrozenPrice, type TokenCounts } from '../../catalogue/price';
import { type NanoUsd, ZERO_NANO_USD } from '../../kernel/money';
import type { FrozenCharge, Settlement, VoidReason } from '../charge';

/** The first group of the SQL type charge_row: what a PENDING row needs. Amounts are decimal integer strings. */
export interface AdmitRow {
  readonly id: string;
  readonly tenant_id: string;
  readonly trace_id: string;
  readonly channel: string;
  readonly is_stream: boolean;
  readonly epoch: string;
  readonly process_id: string;
  readonly hold_nano_usd: string;
  readonly credit_limit_nano_usd: string;
  readonly balance_before_nano_usd: string;
  readonly balance_after_nano_usd: string;
  readonly day_window_start_ms: number;
  readonly month_window_start_ms: number;
  readonly api_key_id: string;
  readonly api_key_name: string;
  readonly model: string;
  readonly price_version: string | null;
  readonly prices: unknown;
}

/** The second group: how the charge ended. */
export interface EndFields {
  readonly is_commit: boolean;
  readonly type: 'charge' | 'correction';
  readonly amount_nano_usd: string;
  readonly tokens_input_uncached: number;
  readonly tokens_input_cached: number;
  readonly tokens_cache_write: number;
  readonly tokens_output: number;
  readonly tokens_reasoning: number;
  readonly tokens_audio: number;
  readonly tokens_image: number;
  readonly counting_method: string | null;
  readonly end_reason: string;
  readonly upstream_id: string | null;
  readonly upstream_name: string | null;
  readonly provider_name: string | null;
  readonly reason_code: string | null;
  readonly description: string | null;
}

/** A full charge_row where is_new, else the tenant, id and ending of a row that stands PENDING. */
export type EndRow = EndFields &
  Pick<AdmitRow, 'id' | 'tenant_id' | 'credit_limit_nano_usd'> &
  Partial<AdmitRow> & { readonly is_new: boolean };

const renderedPrices = new WeakMap<FrozenPrice, unknown>();

/** Prices as JSON, nano-USD in strings; rendered once a price version. */
export function pricesJson(price: FrozenPrice): unknown {
  let rendered = renderedPrices.get(price);
  if (rendered === undefined) {
    const p = price.perMillionTokens;
    rendered = {
      input_uncached: p.inputUncached.toString(),
      input_cached: p.inputCached.toString(),
      cache_write: p.cacheWrite.toString(),
      output: p.output.toString(),
      reasoning: p.reasoning.toString(),
      audio: p.audio.toString(),
      image: p.image.toString(),
      per_request: price.perRequestNanoUsd.toString(),
      multiplier_millionths: price.multiplierMillionths.toString(),
    };
    renderedPrices.set(price, rendered);
  }
  return rendered;
}

export function admitRow(charge: FrozenCharge, processId: string): AdmitRow {
  const { hold } = charge;
  return {
    id: hold.holdId,
    tenant_id: hold.tenantId,
    trace_id: charge.traceId,
    channel: charge.channel,
    is_stream: charge.isStream,
    epoch: hold.epoch.toString(),
    process_id: processId,
    hold_nano_usd: hold.amount.toString(),
    credit_limit_nano_usd: hold.creditLimit.toString(),
    balance_before_nano_usd: hold.balanceBefore.toString(),
    balance_after_nano_usd: hold.balanceAfter.toString(),
    day_window_start_ms: hold.dayWindow.startMs,
    month_window_start_ms: hold.monthWindow.startMs,
    api_key_id: charge.apiKeyId,
    api_key_name: charge.apiKeyName,
    model: charge.model,
    price_version: charge.price.version,
    prices: pricesJson(charge.price),
  };
}

/** Columns of a COMMITTED ending; billing_end adds the immutable snapshot from which the amount can be computed again. */
export function settleFields(price: FrozenPrice, settlement: Settlement): EndFields & { readonly amount: NanoUsd } {
  const { tokens, servedBy } = settlement;
  const amount = costOf(tokens, price);
  return {
    amount,
    is_commit: true,
    type: 'charge',
    amount_nano_usd: amount.toString(),
    ...tokenColumns(tokens),
    counting_method: settlement.method,
    end_reason: settlement.endReason,
    upstream_id: servedBy.upstreamId,
    upstream_name: servedBy.upstreamName,
    provider_name: servedBy.providerName,
    reason_code: null,
    description: null,
  };
}

export function voidFields(reason: VoidReason): EndFields {
  return {
    is_commit: false,
    type: 'charge',
    amount_nano_usd: ZERO_NANO_USD.toString(),
    ...NO_TOKEN_COLUMNS,
    counting_method: null,
    end_reason: reason.endReason,
    upstream_id: reason.servedBy?.upstreamId ?? null,
    upstream_name: reason.servedBy?.upstreamName ?? null,
    provider_name: reason.servedBy?.providerName ?? null,
    reason_code: reason.reasonCode,
    description: null,
  };
}

type TokenColumns = Pick<
  EndFields,
  | 'tokens_input_uncached'
  | 'tokens_input_cached'
  | 'tokens_cache_write'
  | 'tokens_output'
  | 'tokens_reasoning'
  | 'tokens_audio'
  | 'tokens_image'
>;

function tokenColumns(tokens: TokenCounts): TokenColumns {
  return {
    tokens_input_uncached: tokens.inputUncached,
    tokens_input_cached: tokens.inputCached,
    tokens_cache_write: tokens.cacheWrite,
    tokens_output: tokens.output,
    tokens_reasoning: tokens.reasoning,
    tokens_audio: tokens.audio,
    tokens_image: tokens.image,
  };
}

const NO_TOKEN_COLUMNS: TokenColumns = {
  tokens_input_uncached: 0,
  tokens_input_cached: 0,
  tokens_cache_write: 0,
  tokens_output: 0,
  tokens_reasoning: 0,
  tokens_audio: 0,
  tokens_image: 0,
};
