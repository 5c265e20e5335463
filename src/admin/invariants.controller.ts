import { Get, Inject } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProperty } from '@nestjs/swagger';
import { Invariants } from '../billing/invariants/invariants.service';
import { CLOCK, type Clock } from '../kernel/clock';
import { AdminController } from './access/admin-controller.decorator';

export class InvariantDto {
  @ApiProperty({ enum: ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I8'] })
  id!: string;

  @ApiProperty({ description: 'What must be true.' })
  states!: string;

  @ApiProperty({
    enum: ['holds', 'violated', 'in_motion', 'unknown'],
    description: 'in_motion: both sides kept moving under four reads; unknown: the other side could not be read.',
  })
  verdict!: string;

  @ApiProperty({ description: 'Rows, accounts or tenants looked at.' })
  checked!: number;

  @ApiProperty()
  violations!: number;

  @ApiProperty({ type: [String], description: 'The first ten violations, in words.' })
  examples!: readonly string[];
}

export class InvariantsResponse {
  @ApiProperty({ enum: ['invariants'] })
  object!: 'invariants';

  @ApiProperty({ description: 'Whether nothing is violated.' })
  ok!: boolean;

  @ApiProperty({ description: 'RFC 3339.' })
  checked_at!: string;

  @ApiProperty({ type: [InvariantDto] })
  data!: readonly Readonly<InvariantDto>[];
}

@AdminController('invariants', 'Proof')
export class InvariantsController {
  constructor(
    private readonly invariants: Invariants,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  @Get()
  @ApiOperation({
    summary: 'Prove the invariants now',
    description: 'Reads the whole ledger in one snapshot; tolerance is zero nano-USD. Safe under load.',
  })
  @ApiOkResponse({ type: InvariantsResponse })
  async check(): Promise<Readonly<InvariantsResponse>> {
    const data = await this.invariants.check();
    return {
      object: 'invariants',
      ok: data.every(({ violations }) => violations === 0),
      checked_at: new Date(this.clock.nowMs()).toISOString(),
      data,
    };
  }
}
