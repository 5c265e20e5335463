import { Body, Delete, Get, HttpCode, Patch, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { IdParam } from '../access/id-param.decorator';
import { DeletedDto } from '../api-keys/api-key.dto';
import { ApiPageOf, type Page } from '../paging/page';
import { UpstreamHealthDto, UpstreamTestDto } from './upstream-health.dto';
import { UpstreamHealthService } from './upstream-health.service';
import { CreateUpstreamDto, UpdateUpstreamDto, UpstreamDto, UpstreamQuery } from './upstream.dto';
import { UpstreamsService } from './upstreams.service';

@AdminController('upstreams', 'Providers and upstreams')
export class UpstreamsController {
  constructor(
    private readonly upstreams: UpstreamsService,
    private readonly health: UpstreamHealthService,
  ) {}

  @Post()
  @ApiCreatedResponse({ type: UpstreamDto })
  @ApiOperation({ summary: 'Let a provider serve a model' })
  create(@Body() dto: CreateUpstreamDto): Promise<Readonly<UpstreamDto>> {
    return this.upstreams.create(dto, ADMIN_TOKEN_ACTOR);
  }

  @Get()
  @ApiOperation({ summary: 'Upstreams, newest first' })
  @ApiPageOf(UpstreamDto)
  list(@Query() query: UpstreamQuery): Promise<Page<UpstreamDto>> {
    return this.upstreams.list(query);
  }

  @Get('health')
  @ApiOperation({
    summary: 'How upstreams do, newest first',
    description: 'As the process that answers sees it, and what all processes share through Redis.',
  })
  @ApiPageOf(UpstreamHealthDto)
  listHealth(@Query() query: UpstreamQuery): Promise<Page<UpstreamHealthDto>> {
    return this.health.list(query);
  }

  @Get(':id/health')
  @ApiOkResponse({ type: UpstreamHealthDto })
  @ApiOperation({ summary: 'How one upstream does' })
  getHealth(@IdParam() id: string): Promise<Readonly<UpstreamHealthDto>> {
    return this.health.get(id);
  }

  @Post(':id/test')
  @HttpCode(200)
  @ApiOkResponse({ type: UpstreamTestDto })
  @ApiOperation({
    summary: 'Call an upstream once, also a disabled one: does it answer?',
    description:
      'One real call with a word of prompt and a token of answer, in the provider’s dialect and with its key, given up ' +
      'after 30 s. No tenant is charged; the provider charges what two tokens cost. Neither breaker nor cool-down hear of ' +
      'it. An upstream that does not answer is a 200 with `ok: false`.',
  })
  test(@IdParam() id: string): Promise<Readonly<UpstreamTestDto>> {
    return this.health.test(id, ADMIN_TOKEN_ACTOR);
  }

  @Get(':id')
  @ApiOkResponse({ type: UpstreamDto })
  @ApiOperation({ summary: 'One upstream' })
  get(@IdParam() id: string): Promise<Readonly<UpstreamDto>> {
    return this.upstreams.get(id);
  }

  @Patch(':id')
  @ApiOkResponse({ type: UpstreamDto })
  @ApiOperation({ summary: 'Change an upstream; calls that run keep what they began with' })
  update(@IdParam() id: string, @Body() dto: UpdateUpstreamDto): Promise<Readonly<UpstreamDto>> {
    return this.upstreams.update(id, dto, ADMIN_TOKEN_ACTOR);
  }

  @Delete(':id')
  @ApiOkResponse({ type: DeletedDto })
  @ApiOperation({ summary: 'Delete an upstream; history keeps its name' })
  delete(@IdParam() id: string): Promise<Readonly<DeletedDto>> {
    return this.upstreams.delete(id, ADMIN_TOKEN_ACTOR);
  }
}
