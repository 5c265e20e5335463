import { Delete, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiResponse } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { AffinityDto, AffinityQuery } from './affinity.dto';
import { AffinityService } from './affinity.service';

@AdminController('affinity', 'Providers and upstreams')
export class AffinityController {
  constructor(private readonly affinity: AffinityService) {}

  @Get()
  @ApiOkResponse({ type: AffinityDto })
  @ApiOperation({ summary: 'Which upstream the calls of a session ask first' })
  @ApiResponse({ status: 503, description: 'Redis is away.' })
  get(@Query() query: AffinityQuery): Promise<Readonly<AffinityDto>> {
    return this.affinity.get(query);
  }

  @Delete()
  @ApiOkResponse({ type: AffinityDto })
  @ApiOperation({ summary: 'Forget the upstream of a session: its next call chooses anew; answers what was forgotten' })
  @ApiResponse({ status: 503, description: 'Redis is away.' })
  forget(@Query() query: AffinityQuery): Promise<Readonly<AffinityDto>> {
    return this.affinity.forget(query, ADMIN_TOKEN_ACTOR);
  }
}
