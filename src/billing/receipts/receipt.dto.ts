import { ApiProperty, OmitType } from '@nestjs/swagger';

/** One part of the cost; amounts are exact and unrounded, and all lines together are `cost_usd`. */
export class ReceiptLineDto {
  @ApiProperty({ enum: ['tokens', 'per_request', 'multiplier', 'rounding'] })
  kind!: 'tokens' | 'per_request' | 'multiplier' | 'rounding';

  @ApiProperty({
    required: false,
    enum: ['input_uncached', 'input_cached', 'cache_write', 'output', 'reasoning', 'audio', 'image'],
  })
  bucket?: string;

  @ApiProperty({ required: false })
  tokens?: number;

  @ApiProperty({ required: false, description: 'Price of a million tokens of the bucket.', example: '1.000000000' })
  usd_per_mtok?: string;

  @ApiProperty({ required: false, example: '1.5' })
  multiplier?: string;

  @ApiProperty({ description: 'Exact decimal, as many digits as it takes.', example: '0.000012345678' })
  amount_usd!: string;
}

export class ReceiptFundingDto {
  @ApiProperty({ enum: ['wallet', 'promo', 'overrun', 'allowance', 'subscription'] })
  account!: string;

  @ApiProperty({ example: '0.000123000' })
  amount_usd!: string;
}

/** Booked for the call after its charge. */
export class ReceiptCorrectionDto {
  @ApiProperty({ format: 'uuid' })
  transaction_id!: string;

  @ApiProperty({ enum: ['refund', 'credit_note', 'correction', 'adjustment'] })
  type!: string;

  @ApiProperty({ description: 'What it adds to the cost; below zero it gives back.', example: '-0.000123000' })
  amount_usd!: string;

  @ApiProperty({ type: String, nullable: true })
  reason_code!: string | null;

  @ApiProperty({ type: String, nullable: true })
  description!: string | null;

  @ApiProperty({ format: 'date-time' })
  created_at!: string;
}

export class ReceiptAttemptDto {
  @ApiProperty({ description: 'From 1 on, in the order in which they were made.' })
  attempt!: number;

  @ApiProperty({ type: String, nullable: true })
  upstream_name!: string | null;

  @ApiProperty({ type: String, nullable: true })
  provider_name!: string | null;

  @ApiProperty({ type: Number, nullable: true, description: 'HTTP status; null where no headers came.' })
  status!: number | null;

  @ApiProperty({ description: 'HTTP status, the kind of failure, or how a stream ended.' })
  outcome!: string;

  @ApiProperty()
  is_served!: boolean;

  @ApiProperty({ type: Number, nullable: true })
  ttft_ms!: number | null;

  @ApiProperty()
  duration_ms!: number;

  @ApiProperty({ type: 'object', nullable: true, additionalProperties: { type: 'integer' } })
  tokens!: Readonly<Record<string, number>> | null;

  @ApiProperty({ enum: ['tenant', 'house', 'nobody'] })
  paid_by!: 'tenant' | 'house' | 'nobody';
}

/** What one call cost and why, so that the arithmetic can be done again. */
export class ReceiptDto {
  @ApiProperty({ enum: ['receipt'] })
  object!: 'receipt';

  @ApiProperty({ format: 'uuid', description: '`x-request-id` of the call.' })
  trace_id!: string;

  @ApiProperty({
    enum: ['pending', 'committed', 'voided', 'refused', 'uncharged'],
    description:
      'committed: charged. voided: admitted, then not charged. refused: turned away before anything was reserved. ' +
      'uncharged: answered without a charge of its own.',
  })
  status!: 'pending' | 'committed' | 'voided' | 'refused' | 'uncharged';

  @ApiProperty({ type: String, format: 'uuid', nullable: true })
  transaction_id!: string | null;

  @ApiProperty({ type: String, nullable: true, description: 'What was asked for, and priced.' })
  model!: string | null;

  @ApiProperty({ type: String, nullable: true, description: 'Who served it; kept when it is deleted.' })
  provider_name!: string | null;

  @ApiProperty({ type: String, nullable: true })
  upstream_name!: string | null;

  @ApiProperty()
  is_stream!: boolean;

  @ApiProperty({
    type: String,
    nullable: true,
    enum: ['provider', 'tokenizer', 'estimate'],
    description: 'How the tokens came to be known.',
  })
  basis!: 'provider' | 'tokenizer' | 'estimate' | null;

  @ApiProperty({ type: String, nullable: true, description: 'Null where the model has no price.' })
  price_version!: string | null;

  @ApiProperty({ type: String, nullable: true, example: '1.0' })
  multiplier!: string | null;

  @ApiProperty({
    type: Number,
    nullable: true,
    description: 'Threshold of the tier that priced the whole call; null where none was reached.',
  })
  tier_above_input_tokens!: number | null;

  @ApiProperty({ type: [ReceiptLineDto] })
  lines!: readonly Readonly<ReceiptLineDto>[];

  @ApiProperty({ type: String, nullable: true, description: 'Sum of the lines; null while the call runs.' })
  cost_usd!: string | null;

  @ApiProperty({ description: 'What the call may cost, held until it ends.', example: '0.000123000' })
  hold_usd!: string;

  @ApiProperty({
    type: [ReceiptFundingDto],
    description:
      'Which accounts paid; together they are `cost_usd`. Empty where the month was taken out of the ledger.',
  })
  funding!: readonly Readonly<ReceiptFundingDto>[];

  @ApiProperty({ type: [ReceiptCorrectionDto] })
  corrections!: readonly Readonly<ReceiptCorrectionDto>[];

  @ApiProperty({ type: String, nullable: true, description: '`cost_usd` with everything booked since.' })
  net_cost_usd!: string | null;

  @ApiProperty({ type: [ReceiptAttemptDto], description: 'Of the operational record, which may be gone.' })
  attempts!: readonly Readonly<ReceiptAttemptDto>[];

  @ApiProperty({ type: String, nullable: true, description: 'How it ended, such as `complete` or `guard_cut`.' })
  end_reason!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    description: 'Why it was voided; of a stream that its guard cut the limit that was reached, such as `BALANCE`.',
  })
  reason_code!: string | null;

  @ApiProperty({ type: String, nullable: true, description: '`error.code` that the caller was told.' })
  error_code!: string | null;

  @ApiProperty({ type: String, nullable: true, description: 'What the client called its request.' })
  client_request_id!: string | null;

  @ApiProperty({ format: 'date-time' })
  created_at!: string;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  ended_at!: string | null;
}

export class AdminReceiptAttemptDto extends ReceiptAttemptDto {
  @ApiProperty({ type: String, format: 'uuid', nullable: true, description: 'Null once the upstream is deleted.' })
  upstream_id!: string | null;

  @ApiProperty({ description: 'What it cost us.', example: '0.000100000' })
  upstream_cost_usd!: string;
}

/** The tenant's receipt, and what the call cost the house. */
export class AdminReceiptDto extends OmitType(ReceiptDto, ['attempts']) {
  @ApiProperty({ format: 'uuid' })
  tenant_id!: string;

  @ApiProperty({ type: String, format: 'uuid', nullable: true })
  api_key_id!: string | null;

  @ApiProperty({ type: String, nullable: true })
  api_key_name!: string | null;

  @ApiProperty({ type: String, format: 'uuid', nullable: true })
  upstream_id!: string | null;

  @ApiProperty({ type: [AdminReceiptAttemptDto] })
  attempts!: readonly Readonly<AdminReceiptAttemptDto>[];

  @ApiProperty({ description: 'What the served attempt costs us.' })
  upstream_cost_usd!: string;

  @ApiProperty({
    type: String,
    nullable: true,
    description:
      'What attempts cost that the house pays: those that failed, and an answer that is free. Null where the month was ' +
      'taken out of the ledger.',
  })
  house_cost_usd!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    description: '`net_cost_usd` less both costs; null while the call runs, and where one of them is not known.',
  })
  margin_usd!: string | null;
}
