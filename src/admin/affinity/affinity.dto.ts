import { ApiProperty } from '@nestjs/swagger';
import { IsString, IsUUID, Length, Matches } from 'class-validator';
import { AFFINITY_STATES, type AffinityState } from '../../routing/affinity/affinity-machine';
import { REGION } from '../../routing/region';
import { IsGivenName, MayBeAbsent } from '../validation/fields.decorator';

const MAX_SESSION_NAME = 1_000;

export class AffinityQuery {
  @IsUUID()
  tenant_id!: string;

  /** As the client names it. */
  @Length(1, MAX_SESSION_NAME)
  @IsString()
  session_id!: string;

  /** That is served: not an alias of it. */
  @IsGivenName()
  model!: string;

  /** For calls that ask for upstreams of this region alone; they are sessions of their own. */
  @MayBeAbsent()
  @Matches(REGION, { message: '$property must be a tag such as eu' })
  region?: string;
}

export class AffinityDto {
  @ApiProperty({ enum: ['affinity'] })
  object!: 'affinity';

  tenant_id!: string;
  session_id!: string;
  model!: string;
  region!: string | null;

  /** none: nothing is known, the next call chooses. pending: chosen, no call answered yet. failed: the next call chooses another. */
  @ApiProperty({ enum: AFFINITY_STATES })
  state!: AffinityState;

  /** That is asked first, or of `failed` the one that failed. */
  upstream_id!: string | null;
  /** Null also of one that was deleted. */
  upstream_name!: string | null;
  /** Calls that it answered since it was chosen. */
  success_count!: number;
  expires_in_seconds!: number | null;
}
