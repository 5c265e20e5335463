import { Body, Delete, Get, Patch, Post, Put, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { IdParam } from '../access/id-param.decorator';
import { DeletedDto } from '../api-keys/api-key.dto';
import { ApiPageOf, type Page } from '../paging/page';
import { PageQuery } from '../paging/page-query.dto';
import { CreateGroupDto, GroupDto, GroupQuery, RpmOverrideDto, SetRpmOverrideDto, UpdateGroupDto } from './group.dto';
import { GroupsService } from './groups.service';
import { RpmOverridesService } from './rpm-overrides.service';

@AdminController('groups', 'Users and groups')
export class GroupsController {
  constructor(
    private readonly groups: GroupsService,
    private readonly overrides: RpmOverridesService,
  ) {}

  @Post()
  @ApiCreatedResponse({ type: GroupDto })
  @ApiOperation({ summary: 'Create a group of a tenant' })
  create(@Body() dto: CreateGroupDto): Promise<Readonly<GroupDto>> {
    return this.groups.create(dto, ADMIN_TOKEN_ACTOR);
  }

  @Get()
  @ApiOperation({ summary: 'Groups, newest first' })
  @ApiPageOf(GroupDto)
  list(@Query() query: GroupQuery): Promise<Page<GroupDto>> {
    return this.groups.list(query);
  }

  @Get(':id')
  @ApiOkResponse({ type: GroupDto })
  @ApiOperation({ summary: 'One group' })
  get(@IdParam() id: string): Promise<Readonly<GroupDto>> {
    return this.groups.get(id);
  }

  @Patch(':id')
  @ApiOkResponse({ type: GroupDto })
  @ApiOperation({ summary: 'Change name, rate or price multiplier' })
  update(@IdParam() id: string, @Body() dto: UpdateGroupDto): Promise<Readonly<GroupDto>> {
    return this.groups.update(id, dto, ADMIN_TOKEN_ACTOR);
  }

  @Delete(':id')
  @ApiOkResponse({ type: DeletedDto })
  @ApiOperation({ summary: 'Delete a group with its overrides; refused while a key or subscription names it' })
  delete(@IdParam() id: string): Promise<Readonly<DeletedDto>> {
    return this.groups.delete(id, ADMIN_TOKEN_ACTOR);
  }

  @Get(':id/rpm-overrides')
  @ApiOperation({ summary: 'Rates of single users in a group, newest user first' })
  @ApiPageOf(RpmOverrideDto)
  listOverrides(@IdParam() id: string, @Query() query: PageQuery): Promise<Page<RpmOverrideDto>> {
    return this.overrides.list(id, query);
  }

  @Put(':id/rpm-overrides/:user_id')
  @ApiOkResponse({ type: RpmOverrideDto })
  @ApiOperation({ summary: 'Give a user a rate of its own in a group; 0 exempts it' })
  setOverride(
    @IdParam() id: string,
    @IdParam('user_id') userId: string,
    @Body() dto: SetRpmOverrideDto,
  ): Promise<Readonly<RpmOverrideDto>> {
    return this.overrides.set({ groupId: id, userId }, dto, ADMIN_TOKEN_ACTOR);
  }

  @Delete(':id/rpm-overrides/:user_id')
  @ApiOkResponse({ type: DeletedDto })
  @ApiOperation({ summary: 'Let the group’s rate hold for a user again' })
  deleteOverride(@IdParam() id: string, @IdParam('user_id') userId: string): Promise<Readonly<DeletedDto>> {
    return this.overrides.delete({ groupId: id, userId }, ADMIN_TOKEN_ACTOR);
  }
}
