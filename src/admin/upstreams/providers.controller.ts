import { Body, Delete, Get, Patch, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { IdParam } from '../access/id-param.decorator';
import { DeletedDto } from '../api-keys/api-key.dto';
import { ApiPageOf, type Page } from '../paging/page';
import { PageQuery } from '../paging/page-query.dto';
import { CreateProviderDto, ProviderDto, UpdateProviderDto } from './provider.dto';
import { ProvidersService } from './providers.service';

@AdminController('providers', 'Providers and upstreams')
export class ProvidersController {
  constructor(private readonly providers: ProvidersService) {}

  @Post()
  @ApiCreatedResponse({ type: ProviderDto })
  @ApiOperation({ summary: 'Add an account at a model provider; its key is never shown again' })
  create(@Body() dto: CreateProviderDto): Promise<Readonly<ProviderDto>> {
    return this.providers.create(dto, ADMIN_TOKEN_ACTOR);
  }

  @Get()
  @ApiOperation({ summary: 'Providers, newest first' })
  @ApiPageOf(ProviderDto)
  list(@Query() query: PageQuery): Promise<Page<ProviderDto>> {
    return this.providers.list(query);
  }

  @Get(':id')
  @ApiOkResponse({ type: ProviderDto })
  @ApiOperation({ summary: 'One provider, without its key' })
  get(@IdParam() id: string): Promise<Readonly<ProviderDto>> {
    return this.providers.get(id);
  }

  @Patch(':id')
  @ApiOkResponse({ type: ProviderDto })
  @ApiOperation({ summary: 'Change name, base URL, key or dialects' })
  update(@IdParam() id: string, @Body() dto: UpdateProviderDto): Promise<Readonly<ProviderDto>> {
    return this.providers.update(id, dto, ADMIN_TOKEN_ACTOR);
  }

  @Delete(':id')
  @ApiOkResponse({ type: DeletedDto })
  @ApiOperation({ summary: 'Delete a provider with its upstreams; history keeps their names' })
  delete(@IdParam() id: string): Promise<Readonly<DeletedDto>> {
    return this.providers.delete(id, ADMIN_TOKEN_ACTOR);
  }
}
