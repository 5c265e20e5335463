import { ApiProperty } from '@nestjs/swagger';

export class ProjectedBalanceDto {
  @ApiProperty({ description: 'Decimal USD string: wallet and promotional credit together.' })
  posted_usd!: string;

  @ApiProperty({ description: 'Decimal USD string: what open calls may cost.' })
  held_usd!: string;
}

export class TenantRebuildDto {
  @ApiProperty({ enum: ['tenant_rebuild'] })
  object!: 'tenant_rebuild';

  @ApiProperty()
  tenant_id!: string;

  @ApiProperty({
    enum: ['rebuilt', 'discarded', 'not_projected'],
    description:
      'not_projected: Redis has nothing of it that counts; it is loaded from the ledger when it is used. discarded: what ' +
      'Redis has was damaged, and nothing there is trusted any more: every tenant is loaded anew when it is used.',
  })
  state!: 'rebuilt' | 'discarded' | 'not_projected';

  @ApiProperty({ type: ProjectedBalanceDto, nullable: true })
  before!: ProjectedBalanceDto | null;

  @ApiProperty({ type: ProjectedBalanceDto, nullable: true })
  after!: ProjectedBalanceDto | null;

  @ApiProperty({ description: 'Open calls that Redis did not know.' })
  holds_added!: number;

  @ApiProperty({ description: 'Calls that had ended and that Redis still held money for.' })
  holds_removed!: number;
}

export class FleetRebuildDto {
  @ApiProperty({ enum: ['rebuild'] })
  object!: 'rebuild';

  @ApiProperty({ description: 'Every tenant is loaded anew in this epoch when it is used.' })
  epoch!: string;
}
