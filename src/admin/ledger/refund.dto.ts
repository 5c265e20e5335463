import { IsString, Length } from 'class-validator';
import { IsReasonCode, MayBeAbsent } from '../validation/fields.decorator';
import { IsUsd } from '../validation/is-usd.decorator';

export class CreateRefundDto {
  /** Decimal USD string, such as `"0.05"`: a part of the charge. Left out: everything that is left of it. */
  @MayBeAbsent()
  @IsUsd({ mayBeNegative: false })
  amount_usd?: string;

  /** Stable word for reports, such as `GOODWILL`. */
  @IsReasonCode()
  reason_code!: string;

  @MayBeAbsent()
  @Length(1, 500)
  @IsString()
  description?: string;
}

/** What went back to the accounts that paid: what was taken last, first (overrun, wallet, promotional credit). */
export class RefundDto {
  /** Id of its transaction. */
  id!: string;
  object!: 'refund';
  tenant_id!: string;
  /** The charge. */
  original_transaction_id!: string;
  amount_usd!: string;
  /** Of the charge, by refunds and credit notes altogether. */
  refunded_usd!: string;
  /** Wallet and promotional credit together, after it. */
  posted_usd!: string;
  /** Number of changes the balance has seen. */
  version!: string;
}
