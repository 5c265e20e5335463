import { Body, Delete, Get, HttpCode, Patch, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { IdParam } from '../access/id-param.decorator';
import { ApiPageOf, type Page } from '../paging/page';
import {
  ApiKeyDetailDto,
  ApiKeyDto,
  ApiKeyQuery,
  CreateApiKeyDto,
  CreatedApiKeyDto,
  DeletedDto,
  UpdateApiKeyDto,
} from './api-key.dto';
import { ApiKeysService } from './api-keys.service';

@AdminController('', 'API keys')
export class ApiKeysController {
  constructor(private readonly apiKeys: ApiKeysService) {}

  @Post('tenants/:id/api-keys')
  @ApiCreatedResponse({ type: CreatedApiKeyDto })
  @ApiOperation({ summary: 'Create a key; the answer is the only time it is shown' })
  create(@IdParam() tenantId: string, @Body() dto: CreateApiKeyDto): Promise<Readonly<CreatedApiKeyDto>> {
    return this.apiKeys.create(tenantId, dto, ADMIN_TOKEN_ACTOR);
  }

  @Get('tenants/:id/api-keys')
  @ApiOperation({ summary: 'Keys of a tenant, newest first' })
  @ApiPageOf(ApiKeyDto)
  list(@IdParam() tenantId: string, @Query() query: ApiKeyQuery): Promise<Page<ApiKeyDto>> {
    return this.apiKeys.list(tenantId, query);
  }

  @Get('api-keys/:id')
  @ApiOkResponse({ type: ApiKeyDetailDto })
  @ApiOperation({ summary: 'One key with what is used of its limits, without its secret' })
  get(@IdParam() id: string): Promise<Readonly<ApiKeyDetailDto>> {
    return this.apiKeys.get(id);
  }

  @Patch('api-keys/:id')
  @ApiOkResponse({ type: ApiKeyDto })
  @ApiOperation({ summary: 'Change name, allowed models, expiry, limits, user or group' })
  update(@IdParam() id: string, @Body() dto: UpdateApiKeyDto): Promise<Readonly<ApiKeyDto>> {
    return this.apiKeys.update(id, dto, ADMIN_TOKEN_ACTOR);
  }

  @Post('api-keys/:id/revoke')
  @ApiOkResponse({ type: ApiKeyDto })
  @HttpCode(200)
  @ApiOperation({ summary: 'Revoke for good, within seconds on every process' })
  revoke(@IdParam() id: string): Promise<Readonly<ApiKeyDto>> {
    return this.apiKeys.revoke(id, ADMIN_TOKEN_ACTOR);
  }

  @Delete('api-keys/:id')
  @ApiOkResponse({ type: DeletedDto })
  @ApiOperation({ summary: 'Delete a key; money rows keep its name' })
  delete(@IdParam() id: string): Promise<Readonly<DeletedDto>> {
    return this.apiKeys.delete(id, ADMIN_TOKEN_ACTOR);
  }
}
