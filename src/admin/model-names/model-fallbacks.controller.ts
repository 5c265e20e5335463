import { Body, Delete, Get, Put, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { NamedPageQuery } from '../paging/named-page';
import { ApiPageOf, type Page } from '../paging/page';
import { DeletedModelFallbacksDto, ModelFallbacksDto, SetModelFallbacksDto } from './model-fallback.dto';
import { ModelFallbacksService } from './model-fallbacks.service';
import { ModelNameParam } from './model-name-param.decorator';

@AdminController('model-fallbacks', 'Providers and upstreams')
export class ModelFallbacksController {
  constructor(private readonly fallbacks: ModelFallbacksService) {}

  @Get()
  @ApiOperation({ summary: 'Models that have others to stand in for them, by name' })
  @ApiPageOf(ModelFallbacksDto)
  list(@Query() query: NamedPageQuery): Promise<Page<ModelFallbacksDto>> {
    return this.fallbacks.list(query);
  }

  @Get(':model')
  @ApiOkResponse({ type: ModelFallbacksDto })
  @ApiOperation({ summary: 'Which models stand in for one' })
  get(@ModelNameParam('model') model: string): Promise<Readonly<ModelFallbacksDto>> {
    return this.fallbacks.get(model);
  }

  @Put(':model')
  @ApiOkResponse({ type: ModelFallbacksDto })
  @ApiOperation({
    summary: 'Let other models stand in for one, in this order; replaces what stood',
    description:
      'Where no upstream of the model answers before the first byte, the next model is asked, and priced, in its place. ' +
      'Refused (409) where a model would stand in for itself by way of others.',
  })
  set(@ModelNameParam('model') model: string, @Body() dto: SetModelFallbacksDto): Promise<Readonly<ModelFallbacksDto>> {
    return this.fallbacks.set(model, dto, ADMIN_TOKEN_ACTOR);
  }

  @Delete(':model')
  @ApiOkResponse({ type: DeletedModelFallbacksDto })
  @ApiOperation({ summary: 'Let no other model stand in for one' })
  delete(@ModelNameParam('model') model: string): Promise<Readonly<DeletedModelFallbacksDto>> {
    return this.fallbacks.delete(model, ADMIN_TOKEN_ACTOR);
  }
}
