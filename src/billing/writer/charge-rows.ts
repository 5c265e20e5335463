import { costOf, type FrozenPrice, type TokenCounts } from '../../catalogue/price';
import { pricesJson } from '../../catalogue/price-json';
import { type NanoUsd, nanoUsd, ZERO_NANO_USD } from '../../kernel/money';
import type { EndedHold, PendingRow } from '../../quota/quota-store.port';
import { type FrozenScope, frozenScopes } from '../../quota/scopes/frozen-scopes';
import type { Funding } from '../../quota/scopes/scope';
import type { Channel, FrozenCharge, HouseCost, Settlement, VoidReason } from '../charge';

/** The first group of the SQL type charge_row: what a PENDING row needs. Amounts are decimal integer strings. */
export interface AdmitRow extends PendingRow {
  readonly id: string;
  readonly tenant_id: string;
  readonly epoch: string;
  readonly process_id: string;
  readonly hold_nano_usd: string;
  readonly credit_limit_nano_usd: string;
  readonly balance_before_nano_usd: string;
  readonly balance_after_nano_usd: string;
  readonly day_window_start_ms: number;
  readonly month_window_start_ms: number;
  readonly scopes: readonly FrozenScope[] | null;
  readonly funding: Funding;
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
  readonly upstream_cost_nano_usd: string;
  /** Null where there are none: then billing_end does not look. */
  readonly house_costs: readonly HouseCostJson[] | null;
  readonly counting_method: string | null;
  readonly end_reason: string;
  readonly upstream_id: string | null;
  readonly upstream_name: string | null;
  readonly provider_name: string | null;
  readonly reason_code: string | null;
  readonly description: string | null;
}

export interface HouseCostJson {
  readonly upstream_id: string;
  readonly amount_nano_usd: string;
  readonly is_served: boolean;
}

/** A full charge_row where is_new, else the tenant, id and ending of a row that stands PENDING. */
export type EndRow = EndFields &
  Pick<AdmitRow, 'id' | 'tenant_id' | 'credit_limit_nano_usd'> &
  Partial<AdmitRow> & {
    readonly is_new: boolean;
    /** Of a correction: the charge beside which it is booked. */
    readonly original_transaction_id?: string;
  };

/** Of charges that the sweeper ended, committed or voided: their process was taken for dead. */
export const SWEPT_END_REASON = 'process_dead';

/** What of a call is frozen beside its hold. */
export interface ChargedCall {
  /** Made by the gateway; unique per tenant. */
  readonly traceId: string;
  readonly channel: Channel;
  readonly isStream: boolean;
  readonly apiKeyId: string;
  readonly apiKeyName: string;
  /** As the client named it: what is priced. */
  readonly model: string;
  readonly price: FrozenPrice;
  /** As estimated for the hold. */
  readonly inputTokens: number;
}

export function pendingRow(call: ChargedCall): PendingRow {
  return {
    trace_id: call.traceId,
    channel: call.channel,
    is_stream: call.isStream,
    api_key_id: call.apiKeyId,
    api_key_name: call.apiKeyName,
    model: call.model,
    price_version: call.price.version,
    prices: pricesJson(call.price),
    input_tokens_estimate: call.inputTokens,
  };
}

export function admitRow({ hold, pending }: FrozenCharge, processId: string): AdmitRow {
  return {
    ...pending,
    id: hold.holdId,
    tenant_id: hold.tenantId,
    epoch: hold.epoch.toString(),
    process_id: processId,
    hold_nano_usd: hold.amount.toString(),
    credit_limit_nano_usd: hold.creditLimit.toString(),
    balance_before_nano_usd: hold.balanceBefore.toString(),
    balance_after_nano_usd: hold.balanceAfter.toString(),
    day_window_start_ms: hold.dayWindow.startMs,
    month_window_start_ms: hold.monthWindow.startMs,
    scopes: frozenScopes(hold.counted),
    funding: hold.funding,
  };
}

/** What the projection is told of a committed charge: every bucket is a token of TPM. */
export function endedHold(holdId: string, fields: EndFields): EndedHold {
  const tokens =
    fields.tokens_input_uncached +
    fields.tokens_input_cached +
    fields.tokens_cache_write +
    fields.tokens_output +
    fields.tokens_reasoning +
    fields.tokens_audio +
    fields.tokens_image;
  return { holdId, amount: nanoUsd(fields.amount_nano_usd), tokens };
}

/** Columns of a COMMITTED ending; billing_end adds the immutable snapshot from which the amount can be computed again. */
export function settleFields(
  price: FrozenPrice,
  settlement: Omit<Settlement, 'servedBy' | 'upstreamCost'> & Partial<Settlement>,
): EndFields & { readonly amount: NanoUsd } {
  const { tokens, servedBy } = settlement;
  const amount = costOf(tokens, price);
  return {
    amount,
    is_commit: true,
    type: 'charge',
    amount_nano_usd: amount.toString(),
    ...tokenColumns(tokens),
    upstream_cost_nano_usd: (settlement.upstreamCost ?? ZERO_NANO_USD).toString(),
    house_costs: houseCostsJson(settlement.houseCosts),
    counting_method: settlement.method,
    end_reason: settlement.endReason,
    upstream_id: servedBy?.upstreamId ?? null,
    upstream_name: servedBy?.upstreamName ?? null,
    provider_name: servedBy?.providerName ?? null,
    reason_code: settlement.reasonCode ?? null,
    description: null,
  };
}

export function voidFields(reason: VoidReason): EndFields {
  return {
    is_commit: false,
    type: 'charge',
    amount_nano_usd: ZERO_NANO_USD.toString(),
    ...NO_TOKEN_COLUMNS,
    upstream_cost_nano_usd: ZERO_NANO_USD.toString(),
    house_costs: houseCostsJson(reason.houseCosts),
    counting_method: null,
    end_reason: reason.endReason,
    upstream_id: reason.servedBy?.upstreamId ?? null,
    upstream_name: reason.servedBy?.upstreamName ?? null,
    provider_name: reason.servedBy?.providerName ?? null,
    reason_code: reason.reasonCode,
    description: null,
  };
}

/** A settle that is taken back before it stands: the answer keeps its upstream, and the house pays what it cost. */
export function unchargedFields(settled: EndFields, reason: Pick<VoidReason, 'reasonCode' | 'endReason'>): EndFields {
  const { upstream_id, upstream_name, provider_name, upstream_cost_nano_usd: cost, house_costs } = settled;
  const served = upstream_id === null || cost === '0' ? [] : [{ upstream_id, amount_nano_usd: cost, is_served: true }];
  const houseCosts = [...(house_costs ?? []), ...served];
  return {
    ...voidFields(reason),
    upstream_id,
    upstream_name,
    provider_name,
    house_costs: houseCosts.length === 0 ? null : houseCosts,
  };
}

export function houseCostsJson(costs: readonly HouseCost[] = []): readonly HouseCostJson[] | null {
  if (costs.length === 0) return null;
  return costs.map(({ upstreamId, amount, isServed }) => ({
    upstream_id: upstreamId,
    amount_nano_usd: amount.toString(),
    is_served: isServed,
  }));
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
