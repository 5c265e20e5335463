import { ApiProperty } from '@nestjs/swagger';
import { IsIn, IsOptional, IsUUID } from 'class-validator';
import { IsInstant } from '../validation/fields.decorator';

export class MarginQuery {
  @ApiProperty({ enum: ['model', 'upstream'] })
  @IsIn(['model', 'upstream'])
  group_by!: 'model' | 'upstream';

  /** RFC 3339 with zone. Left out: 30 days before `to`. */
  @IsOptional()
  @IsInstant()
  from?: string;

  /** RFC 3339 with zone, not included. Left out: now. At most 92 days after `from`. */
  @IsOptional()
  @IsInstant()
  to?: string;

  @IsOptional()
  @IsUUID()
  tenant_id?: string;
}

/** Of calls that were admitted in the range, with everything that was booked for them since. Decimal USD strings. */
export class MarginAmountsDto {
  /** Calls that were charged. */
  charges!: number;
  /** What tenants were charged, late corrections included. */
  charged_usd!: string;
  /** What of it was given back: refunds, credit notes, adjustments of a charge. */
  credited_usd!: string;
  /** What the attempts cost us whose answers were charged. */
  upstream_cost_usd!: string;
  /** What attempts cost us that no tenant pays: those that failed, and answers that are free. */
  house_cost_usd!: string;
  /** Charged less everything else. */
  margin_usd!: string;
}

export class MarginDto extends MarginAmountsDto {
  object!: 'margin';
  /** Only where grouped by model. */
  model?: string | null;
  /** Only where grouped by upstream; null of what nobody is known to have served. */
  upstream_id?: string | null;
  /** As it is called now, else as its last charge has it; null of an upstream that is gone and served nothing. */
  upstream_name?: string | null;
}

export class MarginsDto {
  object!: 'margins';
  group_by!: 'model' | 'upstream';
  from!: string;
  to!: string;
  tenant_id!: string | null;
  /** Largest charge first; of more than 1,000 only these. */
  data!: Readonly<MarginDto>[];
  has_more!: boolean;
  /** Over all groups, read by the same query. */
  totals!: Readonly<MarginAmountsDto>;
}
