import { type FrozenPrice, TOKEN_BUCKETS, type TokenCounts } from '../../catalogue/price';
import { BUCKET_NAMES, readPrices } from '../../catalogue/price-json';
import { type NanoUsd, nanoUsd, toDecimalUsd, ZERO_NANO_USD } from '../../kernel/money';
import { multiplierOf, type ReceiptLine, receiptLines, tierInForce } from './receipt-lines';
import type {
  AttemptOfReceipt,
  ChargeOfReceipt,
  CorrectionOfReceipt,
  FundingOfReceipt,
  ReceiptSource,
} from './receipt-reader';
import type {
  AdminReceiptDto,
  ReceiptAttemptDto,
  ReceiptCorrectionDto,
  ReceiptDto,
  ReceiptFundingDto,
  ReceiptLineDto,
} from './receipt.dto';

const BASIS = { usage: 'provider', tokenizer: 'tokenizer', estimated: 'estimate' } as const;
const STATUS = { PENDING: 'pending', COMMITTED: 'committed', VOIDED: 'voided' } as const;
/** What the tenant knows the house's accounts as. */
const GRANTED = 'granted:';

/** The receipt as the tenant who pays sees it. */
export function renderReceipt(source: ReceiptSource): Readonly<ReceiptDto> {
  const { traceId, charge, log } = source;
  const cost = costOfCharge(source);
  return {
    object: 'receipt',
    trace_id: traceId,
    status: statusOf(source),
    transaction_id: charge?.id ?? null,
    model: charge?.model ?? log?.model ?? null,
    provider_name: charge?.provider_name ?? null,
    upstream_name: charge?.upstream_name ?? null,
    is_stream: charge?.is_stream ?? log?.is_stream ?? false,
    basis: charge?.counting_method ? BASIS[charge.counting_method] : null,
    ...arithmeticOf(charge),
    cost_usd: cost === undefined ? null : toDecimalUsd(cost),
    hold_usd: toDecimalUsd(nanoUsd(charge?.hold_nano_usd ?? '0')),
    funding: source.funding.map(renderFunding),
    corrections: source.corrections.map(renderCorrection),
    net_cost_usd: cost === undefined ? null : toDecimalUsd(netCostOf(source, cost)),
    attempts: source.attempts.map(renderAttempt),
    end_reason: charge?.end_reason ?? log?.end_reason ?? null,
    reason_code: charge?.reason_code ?? null,
    error_code: log?.error_code ?? null,
    client_request_id: log?.client_request_id ?? null,
    created_at: timeOf(charge?.created_at ?? log?.created_at ?? ''),
    ended_at: charge?.ended_at ? timeOf(charge.ended_at) : null,
  };
}

/** The same with what the call cost the house. */
export function renderAdminReceipt(source: ReceiptSource): Readonly<AdminReceiptDto> {
  const { charge, log, corrections } = source;
  const cost = costOfCharge(source);
  const upstreamCost = sum([charge?.upstream_cost_nano_usd ?? '0', ...corrections.map((row) => row.upstream_cost)]);
  const houseCost = source.houseCost === null ? undefined : nanoUsd(source.houseCost);
  const isKnown = cost !== undefined && houseCost !== undefined;
  return {
    ...renderReceipt(source),
    tenant_id: charge?.tenant_id ?? log?.tenant_id ?? '',
    api_key_id: charge?.api_key_id ?? null,
    api_key_name: charge?.api_key_name ?? null,
    upstream_id: charge?.upstream_id ?? null,
    attempts: source.attempts.map((attempt) => ({
      ...renderAttempt(attempt),
      upstream_id: attempt.upstream_id,
      upstream_cost_usd: toDecimalUsd(nanoUsd(attempt.upstream_cost_nano_usd)),
    })),
    upstream_cost_usd: toDecimalUsd(upstreamCost),
    house_cost_usd: houseCost === undefined ? null : toDecimalUsd(houseCost),
    margin_usd: isKnown ? toDecimalUsd(nanoUsd(netCostOf(source, cost) - upstreamCost - houseCost)) : null,
  };
}

function statusOf({ charge, log, attempts }: ReceiptSource): ReceiptDto['status'] {
  if (charge) return STATUS[charge.status];
  if (!log?.error_code) return 'uncharged';
  // Whoever got as far as an upstream was admitted: nobody waits for the row of a call that failed.
  return attempts.length > 0 ? 'voided' : 'refused';
}

/** Undefined while it is not known. */
function costOfCharge({ charge }: ReceiptSource): NanoUsd | undefined {
  if (!charge) return ZERO_NANO_USD;
  return charge.status === 'PENDING' ? undefined : nanoUsd(charge.amount_nano_usd);
}

function netCostOf({ corrections }: ReceiptSource, cost: NanoUsd): NanoUsd {
  return corrections.reduce((net, row) => nanoUsd(net + effectOf(row)), cost);
}

/** A late correction charges its amount; refunds, credit notes and adjustments credit theirs. */
function effectOf({ type, amount }: CorrectionOfReceipt): NanoUsd {
  return nanoUsd(type === 'correction' ? BigInt(amount) : -BigInt(amount));
}

type Arithmetic = Pick<ReceiptDto, 'price_version' | 'multiplier' | 'tier_above_input_tokens' | 'lines'>;

function arithmeticOf(charge: ChargeOfReceipt | null): Arithmetic {
  const price = charge ? readPrices(charge.prices, charge.price_version) : undefined;
  const base = { price_version: charge?.price_version ?? null, multiplier: price ? multiplierOf(price) : null };
  if (!charge || !price || charge.status !== 'COMMITTED') return { ...base, tier_above_input_tokens: null, lines: [] };
  const tokens = tokensOf(charge);
  return {
    ...base,
    tier_above_input_tokens: tierInForce(tokens, price)?.aboveInputTokens ?? null,
    lines: linesOf(tokens, price),
  };
}

function linesOf(tokens: TokenCounts, price: FrozenPrice): readonly Readonly<ReceiptLineDto>[] {
  return receiptLines(tokens, price).map(renderLine);
}

function renderLine(line: ReceiptLine): Readonly<ReceiptLineDto> {
  const { kind, amountUsd: amount_usd } = line;
  if (kind === 'multiplier') return { kind, multiplier: line.multiplier, amount_usd };
  if (kind !== 'tokens') return { kind, amount_usd };
  return { kind, bucket: BUCKET_NAMES[line.bucket], tokens: line.tokens, usd_per_mtok: line.usdPerMtok, amount_usd };
}

function tokensOf(charge: ChargeOfReceipt): TokenCounts {
  const counts = TOKEN_BUCKETS.map((bucket) => [bucket, Number(charge[`tokens_${BUCKET_NAMES[bucket]}`])]);
  return Object.fromEntries(counts) as TokenCounts;
}

function renderFunding({ account, amount }: FundingOfReceipt): Readonly<ReceiptFundingDto> {
  return {
    account: account.startsWith(GRANTED) ? account.slice(GRANTED.length) : account,
    amount_usd: toDecimalUsd(nanoUsd(amount)),
  };
}

function renderCorrection(row: CorrectionOfReceipt): Readonly<ReceiptCorrectionDto> {
  return {
    transaction_id: row.id,
    type: row.type,
    amount_usd: toDecimalUsd(effectOf(row)),
    reason_code: row.reason_code,
    description: row.description,
    created_at: timeOf(row.created_at),
  };
}

function renderAttempt(row: AttemptOfReceipt): Readonly<ReceiptAttemptDto> {
  return {
    attempt: row.attempt,
    upstream_name: row.upstream_name,
    provider_name: row.provider_name,
    status: row.status,
    outcome: row.outcome,
    is_served: row.is_served,
    ttft_ms: row.ttft_ms,
    duration_ms: row.duration_ms,
    tokens: row.tokens,
    paid_by: row.paid_by,
  };
}

function sum(amounts: readonly string[]): NanoUsd {
  return nanoUsd(amounts.reduce((total, amount) => total + BigInt(amount), 0n));
}

/** RFC 3339, as every other time. */
function timeOf(timestamp: string): string {
  return new Date(timestamp).toISOString();
}
