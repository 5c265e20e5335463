import { ApiProperty } from '@nestjs/swagger';
import { IsBoolean, IsOptional, IsUUID, Matches } from 'class-validator';
import { LimitQuery } from '../paging/page-query.dto';
import { IsGivenName, IsInstant, MayBeAbsent } from '../validation/fields.decorator';

/** A dry run says which charges; what it found is applied by its id. */
export class ReRateDto {
  /** As it was charged. Needed for a dry run, as are `from`, `to` and `price_version`; of an application they may be left out. */
  @MayBeAbsent()
  @IsGivenName()
  model?: string;

  /** RFC 3339 with zone: calls that were admitted at or after this. */
  @MayBeAbsent()
  @IsInstant()
  from?: string;

  /** RFC 3339 with zone: calls that were admitted before this. */
  @MayBeAbsent()
  @IsInstant()
  to?: string;

  /** Id of the price of this model by which they are to be rated. */
  @MayBeAbsent()
  @Matches(/^[1-9]\d{0,17}$/, { message: '$property must be the id of a price' })
  price_version?: string;

  /** Only charges of this tenant. */
  @MayBeAbsent()
  @IsUUID()
  tenant_id?: string;

  /** Whether charges that were too cheap are debited the difference; else it is only reported. */
  @MayBeAbsent()
  @IsBoolean()
  charge_differences?: boolean;

  /** False books what the dry run of `plan_id` found. */
  @MayBeAbsent()
  @IsBoolean()
  dry_run?: boolean;

  /** The `id` that a dry run answered. */
  @MayBeAbsent()
  @IsUUID()
  plan_id?: string;
}

export class ReRatingQuery extends LimitQuery {
  /** `next_cursor` of the page before. */
  @IsOptional()
  @IsUUID()
  after?: string;
}

/** Over every line. */
export class ReRatingTotalsDto {
  /** That were computed anew. */
  charges!: number;
  /** That come to something else. */
  differing!: number;
  overcharged_usd!: string;
  undercharged_usd!: string;
  /** What is to be given back: what was too much, as far as anything is left of its charge. */
  credit_due_usd!: string;
  /** What is to be debited: 0 unless differences are charged, and nothing of a charge that was refunded whole. */
  debit_due_usd!: string;
  credited_usd!: string;
  debited_usd!: string;
  /** Lines still to be booked. */
  remaining!: number;
  /** Lines that could not be booked, such as for an account without room. */
  refused!: number;
}

export class ReRatingLineDto {
  charge_id!: string;
  tenant_id!: string;
  old_price_version!: string | null;
  /** What the charge had come to by then. */
  rated_usd!: string;
  re_rated_usd!: string;
  /** Above 0 a credit note, below 0 a debit; 0: nothing is booked. */
  due_usd!: string;
  /** Null while its turn has not come. Less than due where less was left of the charge by then. */
  booked_usd!: string | null;
  /** The credit note, or the adjustment that debits. */
  transaction_id!: string | null;
  refusal!: string | null;
}

export class ReRatingDto {
  id!: string;
  object!: 're_rating';
  /** `applying` while lines are left: send it again. */
  @ApiProperty({ enum: ['planned', 'applying', 'applied'] })
  status!: 'planned' | 'applying' | 'applied';
  model!: string;
  from!: string;
  to!: string;
  tenant_id!: string | null;
  price_version!: string;
  charge_differences!: boolean;
  totals!: ReRatingTotalsDto;
  planned_at!: string;
  applying_since!: string | null;
  /** One page of the charges that come to something else, by id. */
  @ApiProperty({ type: [ReRatingLineDto] })
  data!: readonly Readonly<ReRatingLineDto>[];
  has_more!: boolean;
  /** Goes into `after` for the next page; null on the last one. */
  next_cursor!: string | null;
}
