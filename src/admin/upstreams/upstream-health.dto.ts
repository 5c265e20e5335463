import { ApiProperty } from '@nestjs/swagger';
import { API_DIALECTS } from '../../upstreams/provider-dialects';
import type { BreakerState } from '../../routing/breaker';
import type { ApiDialect } from '../../upstreams/upstream.port';

const BREAKER_STATES: readonly BreakerState[] = ['closed', 'open', 'half_open'];

/** What Redis says for all processes. */
export class SharedTroubleDto {
  /** Null: it is open nowhere. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  open_until!: string | null;
  /** Until when the upstream asked to be left alone; null: it did not. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  cooling_until!: string | null;
}

/** As the process that answers sees it, and what all share. */
export class UpstreamHealthDto {
  object!: 'upstream_health';
  id!: string;
  provider_id!: string;
  name!: string;
  model!: string;
  @ApiProperty({ type: String, nullable: true })
  region!: string | null;
  enabled!: boolean;
  /** Calls under way in this process. */
  in_flight!: number;
  /** How many it takes of each process; null: no limit. */
  @ApiProperty({ type: Number, nullable: true })
  max_concurrency!: number | null;
  @ApiProperty({
    enum: BREAKER_STATES,
    description: 'open: no calls; half_open: one call tries whether it answers again.',
  })
  breaker!: BreakerState;
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  open_until!: string | null;
  /** It is left alone until then, by its own wish or ours; null: it is not. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  cooling_until!: string | null;
  @ApiProperty({ description: 'Share of attempts that it answered, an exponential average.', example: 0.98 })
  success_rate!: number;
  @ApiProperty({
    type: Number,
    nullable: true,
    description: 'To the first byte of an answer, an exponential average; null before its first answer.',
  })
  first_byte_ms!: number | null;
  @ApiProperty({ description: 'What its weight is multiplied by, 0.05 to 1.', example: 0.91 })
  health!: number;
  @ApiProperty({ type: SharedTroubleDto, nullable: true, description: 'Null while Redis cannot be asked.' })
  shared!: Readonly<SharedTroubleDto> | null;
}

export class UpstreamTestDto {
  object!: 'upstream_test';
  id!: string;
  ok!: boolean;
  @ApiProperty({ type: Number, nullable: true, description: 'Null where no headers came.' })
  status!: number | null;
  latency_ms!: number;
  /** The provider's own name, as it was asked for. */
  model!: string;
  @ApiProperty({ enum: API_DIALECTS })
  dialect!: ApiDialect;
  @ApiProperty({ type: String, nullable: true, description: 'The provider’s words, cleaned, or how the call failed.' })
  error!: string | null;
}
