import { Body, Delete, Get, Patch, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { IdParam } from '../access/id-param.decorator';
import { DeletedDto } from '../api-keys/api-key.dto';
import { ApiPageOf, type Page } from '../paging/page';
import {
  CreateUserPlatformQuotaDto,
  UpdateUserPlatformQuotaDto,
  UserPlatformQuotaDto,
  UserPlatformQuotaQuery,
} from './user-platform-quota.dto';
import { UserPlatformQuotasService } from './user-platform-quotas.service';

@AdminController('user-platform-quotas', 'Users and groups')
export class UserPlatformQuotasController {
  constructor(private readonly quotas: UserPlatformQuotasService) {}

  @Post()
  @ApiCreatedResponse({ type: UserPlatformQuotaDto })
  @ApiOperation({ summary: 'Limit what a user may spend at providers of one kind; one a user and platform' })
  create(@Body() dto: CreateUserPlatformQuotaDto): Promise<Readonly<UserPlatformQuotaDto>> {
    return this.quotas.create(dto, ADMIN_TOKEN_ACTOR);
  }

  @Get()
  @ApiOperation({ summary: 'Quotas of users at platforms, newest first' })
  @ApiPageOf(UserPlatformQuotaDto)
  list(@Query() query: UserPlatformQuotaQuery): Promise<Page<UserPlatformQuotaDto>> {
    return this.quotas.list(query);
  }

  @Get(':id')
  @ApiOkResponse({ type: UserPlatformQuotaDto })
  @ApiOperation({ summary: 'One quota' })
  get(@IdParam() id: string): Promise<Readonly<UserPlatformQuotaDto>> {
    return this.quotas.get(id);
  }

  @Patch(':id')
  @ApiOkResponse({ type: UserPlatformQuotaDto })
  @ApiOperation({ summary: 'Change limits; null lifts one' })
  update(@IdParam() id: string, @Body() dto: UpdateUserPlatformQuotaDto): Promise<Readonly<UserPlatformQuotaDto>> {
    return this.quotas.update(id, dto, ADMIN_TOKEN_ACTOR);
  }

  @Delete(':id')
  @ApiOkResponse({ type: DeletedDto })
  @ApiOperation({ summary: 'Delete a quota: the user is not limited at the platform any more' })
  delete(@IdParam() id: string): Promise<Readonly<DeletedDto>> {
    return this.quotas.delete(id, ADMIN_TOKEN_ACTOR);
  }
}
