import { Body, Delete, Get, Put, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { NamedPageQuery } from '../paging/named-page';
import { ApiPageOf, type Page } from '../paging/page';
import { DeletedModelAliasDto, ModelAliasDto, SetModelAliasDto } from './model-alias.dto';
import { ModelAliasesService } from './model-aliases.service';
import { ModelNameParam } from './model-name-param.decorator';

@AdminController('model-aliases', 'Providers and upstreams')
export class ModelAliasesController {
  constructor(private readonly aliases: ModelAliasesService) {}

  @Get()
  @ApiOperation({ summary: 'Other names of models, by name' })
  @ApiPageOf(ModelAliasDto)
  list(@Query() query: NamedPageQuery): Promise<Page<ModelAliasDto>> {
    return this.aliases.list(query);
  }

  @Get(':alias')
  @ApiOkResponse({ type: ModelAliasDto })
  @ApiOperation({ summary: 'What an alias names' })
  get(@ModelNameParam('alias') alias: string): Promise<Readonly<ModelAliasDto>> {
    return this.aliases.get(alias);
  }

  @Put(':alias')
  @ApiOkResponse({ type: ModelAliasDto })
  @ApiOperation({
    summary: 'Give a model another name, or let an alias name another model',
    description:
      'What is asked for by alias is routed, priced and recorded as the model; the answer shows the name that was asked ' +
      'for. A key may use it that may use either name. Refused (409) where upstreams have a model of this name, and where ' +
      'it would make an alias of an alias.',
  })
  set(@ModelNameParam('alias') alias: string, @Body() dto: SetModelAliasDto): Promise<Readonly<ModelAliasDto>> {
    return this.aliases.set(alias, dto, ADMIN_TOKEN_ACTOR);
  }

  @Delete(':alias')
  @ApiOkResponse({ type: DeletedModelAliasDto })
  @ApiOperation({ summary: 'Delete an alias; its model stays' })
  delete(@ModelNameParam('alias') alias: string): Promise<Readonly<DeletedModelAliasDto>> {
    return this.aliases.delete(alias, ADMIN_TOKEN_ACTOR);
  }
}
