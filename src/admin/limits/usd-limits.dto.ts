import { IsOptional } from 'class-validator';
import { IsUsd } from '../validation/is-usd.decorator';

/** Decimal USD strings, such as `"25.00"`; null, as in a new one unless given: unlimited. */
export class UsdLimitsDto {
  /** A calendar day. */
  @IsOptional()
  @IsUsd({ mayBeNegative: false })
  daily_limit_usd?: string | null;

  /** An ISO week, from Monday. */
  @IsOptional()
  @IsUsd({ mayBeNegative: false })
  weekly_limit_usd?: string | null;

  /** A month: for a subscription the calendar's, for a user at a platform 30 days from the first use. */
  @IsOptional()
  @IsUsd({ mayBeNegative: false })
  monthly_limit_usd?: string | null;
}

/** Decimal USD strings with nine decimals; null is unlimited. */
export class ShownUsdLimitsDto {
  daily_limit_usd!: string | null;
  weekly_limit_usd!: string | null;
  monthly_limit_usd!: string | null;
}
