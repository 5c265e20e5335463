import { type NanoUsd, toDecimalUsd } from '../../kernel/money';
import { amountOf } from '../validation/is-usd.decorator';
import type { ShownUsdLimitsDto, UsdLimitsDto } from './usd-limits.dto';

interface UsdLimitColumns {
  dailyLimitNanoUsd: NanoUsd | null;
  weeklyLimitNanoUsd: NanoUsd | null;
  monthlyLimitNanoUsd: NanoUsd | null;
}

/** What a field that has passed IsUsd makes of a limit: left out it stays, null lifts it. */
export function changedLimit(text: string | null | undefined, standing: NanoUsd | null): NanoUsd | null {
  if (text === undefined) return standing;
  return text === null ? null : amountOf(text);
}

export function renderLimit(limit: NanoUsd | null): string | null {
  return limit === null ? null : toDecimalUsd(limit);
}

export const NO_USD_LIMITS: Readonly<UsdLimitColumns> = {
  dailyLimitNanoUsd: null,
  weeklyLimitNanoUsd: null,
  monthlyLimitNanoUsd: null,
};

export function changedUsdLimits(dto: Readonly<UsdLimitsDto>, standing: Readonly<UsdLimitColumns>): UsdLimitColumns {
  return {
    dailyLimitNanoUsd: changedLimit(dto.daily_limit_usd, standing.dailyLimitNanoUsd),
    weeklyLimitNanoUsd: changedLimit(dto.weekly_limit_usd, standing.weeklyLimitNanoUsd),
    monthlyLimitNanoUsd: changedLimit(dto.monthly_limit_usd, standing.monthlyLimitNanoUsd),
  };
}

export function renderUsdLimits(limits: Readonly<UsdLimitColumns>): Readonly<ShownUsdLimitsDto> {
  return {
    daily_limit_usd: renderLimit(limits.dailyLimitNanoUsd),
    weekly_limit_usd: renderLimit(limits.weeklyLimitNanoUsd),
    monthly_limit_usd: renderLimit(limits.monthlyLimitNanoUsd),
  };
}
