import { OmitType, PartialType } from '@nestjs/swagger';
import { IsBoolean, IsInt, IsOptional, IsUUID, Matches, Max, Min } from 'class-validator';
import { REGION } from '../../routing/region';
import { PageQuery } from '../paging/page-query.dto';
import { CHANGES, IsGivenName, MayBeAbsent } from '../validation/fields.decorator';
import { IsUsdPrice } from '../validation/is-usd.decorator';

const MAX_PRIORITY = 1_000_000;
const MAX_WEIGHT = 1_000_000;
const MAX_TIMEOUT_MS = 3_600_000;
const MAX_CONCURRENCY = 1_000_000;
const REGION_MESSAGE = { message: '$property must be a tag of lower-case letters, digits, dots, - and _, such as eu' };

export class CreateUpstreamDto {
  @IsUUID()
  provider_id!: string;

  /** What people call it; left out: provider and upstream model. */
  @MayBeAbsent()
  @IsGivenName()
  name?: string;

  /** What clients ask for, and what is priced. */
  @IsGivenName()
  model!: string;

  /** The provider's own name of the model. */
  @IsGivenName()
  upstream_model!: string;

  /** Upstreams with the lowest number are tried first. */
  @MayBeAbsent()
  @Min(-MAX_PRIORITY)
  @Max(MAX_PRIORITY)
  @IsInt()
  priority?: number;

  /** Share of the calls among upstreams of one priority; 0: only when no other is left. */
  @MayBeAbsent()
  @Min(0)
  @Max(MAX_WEIGHT)
  @IsInt()
  weight?: number;

  /** How long it may take to its first byte, milliseconds; null: the gateway's own limit. */
  @IsOptional()
  @Min(1)
  @Max(MAX_TIMEOUT_MS)
  @IsInt()
  timeout_ms?: number | null;

  /** Calls under way that it takes from each gateway process; null: no limit. A call that finds it full takes the next. */
  @IsOptional()
  @Min(1)
  @Max(MAX_CONCURRENCY)
  @IsInt()
  max_concurrency?: number | null;

  /** Where it runs, as a tag such as `eu`: a call with the header `x-tollgate-region` goes to upstreams of that tag alone. */
  @IsOptional()
  @Matches(REGION, REGION_MESSAGE)
  region?: string | null;

  @MayBeAbsent()
  @IsBoolean()
  enabled?: boolean;

  /** What the provider charges us: decimal USD string per million tokens. */
  @MayBeAbsent()
  @IsUsdPrice()
  cost_input_usd_per_mtok?: string;

  /** What the provider charges us: decimal USD string per million tokens. */
  @MayBeAbsent()
  @IsUsdPrice()
  cost_output_usd_per_mtok?: string;

  /** Of input that the provider had cached. Left out or null: as input. */
  @IsOptional()
  @IsUsdPrice()
  cost_cached_input_usd_per_mtok?: string | null;

  /** Of input that the provider caches. Left out or null: as input. */
  @IsOptional()
  @IsUsdPrice()
  cost_cache_write_usd_per_mtok?: string | null;
}

/** Only what is named changes. */
export class UpdateUpstreamDto extends PartialType(OmitType(CreateUpstreamDto, ['provider_id', 'name']), CHANGES) {
  @MayBeAbsent()
  @IsGivenName()
  name?: string;
}

export class UpstreamQuery extends PageQuery {
  @MayBeAbsent()
  @IsGivenName()
  model?: string;

  @MayBeAbsent()
  @IsUUID()
  provider_id?: string;

  @MayBeAbsent()
  @Matches(REGION, REGION_MESSAGE)
  region?: string;
}

export class UpstreamDto {
  id!: string;
  object!: 'upstream';
  provider_id!: string;
  name!: string;
  model!: string;
  upstream_model!: string;
  priority!: number;
  weight!: number;
  /** Null: the gateway's own limit. */
  timeout_ms!: number | null;
  /** Calls under way in each gateway process; null: no limit. */
  max_concurrency!: number | null;
  region!: string | null;
  enabled!: boolean;
  cost_input_usd_per_mtok!: string;
  cost_output_usd_per_mtok!: string;
  /** Null: as input. */
  cost_cached_input_usd_per_mtok!: string | null;
  /** Null: as input. */
  cost_cache_write_usd_per_mtok!: string | null;
  created_at!: string;
  updated_at!: string;
}
