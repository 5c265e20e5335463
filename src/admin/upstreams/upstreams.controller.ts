import { Body, Delete, Get, Patch, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { IdParam } from '../access/id-param.decorator';
import { DeletedDto } from '../api-keys/api-key.dto';
import { ApiPageOf, type Page } from '../paging/page';
import { CreateUpstreamDto, UpdateUpstreamDto, UpstreamDto, UpstreamQuery } from './upstream.dto';
import { UpstreamsService } from './upstreams.service';

@AdminController('upstreams', 'Providers and upstreams')
export class UpstreamsController {
  constructor(private readonly upstreams: UpstreamsService) {}

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
