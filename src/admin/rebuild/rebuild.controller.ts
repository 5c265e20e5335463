import { HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiResponse } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { IdParam } from '../access/id-param.decorator';
import { FleetRebuildDto, TenantRebuildDto } from './rebuild.dto';
import { RebuildService } from './rebuild.service';

@AdminController('rebuild', 'Proof')
export class RebuildController {
  constructor(private readonly rebuilds: RebuildService) {}

  @Post()
  @HttpCode(200)
  @ApiOperation({
    summary: 'Rebuild every tenant in Redis from the ledger',
    description: 'Raises the epoch: nothing in Redis is trusted any more, each tenant is loaded anew on its next call.',
  })
  @ApiOkResponse({ type: FleetRebuildDto })
  all(): Promise<Readonly<FleetRebuildDto>> {
    return this.rebuilds.all(ADMIN_TOKEN_ACTOR);
  }

  @Post(':tenant_id')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Rebuild one tenant in Redis from the ledger',
    description:
      'Corrects balance, holds and counters while calls go on; says what was wrong. Where parts of them are gone, all ' +
      'tenants are rebuilt.',
  })
  @ApiOkResponse({ type: TenantRebuildDto })
  @ApiResponse({ status: 503, description: 'Redis or Postgres is away.' })
  one(@IdParam('tenant_id') tenantId: string): Promise<Readonly<TenantRebuildDto>> {
    return this.rebuilds.one(tenantId, ADMIN_TOKEN_ACTOR);
  }
}
