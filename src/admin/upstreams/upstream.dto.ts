import { OmitType, PartialType } from '@nestjs/swagger';
import { IsBoolean, IsInt, IsOptional, IsUUID, Max, Min } from 'class-validator';
import { PageQuery } from '../paging/page-query.dto';
import { CHANGES, IsGivenName, MayBeAbsent } from '../validation/fields.decorator';
import { IsUsdPrice } from '../validation/is-usd.decorator';

const MAX_PRIORITY = 1_000_000;
const MAX_WEIGHT = 1_000_000;
const MAX_TIMEOUT_MS = 3_600_000;

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
