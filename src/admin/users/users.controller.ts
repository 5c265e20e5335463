import { Body, Delete, Get, Patch, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { IdParam } from '../access/id-param.decorator';
import { DeletedDto } from '../api-keys/api-key.dto';
import { ApiPageOf, type Page } from '../paging/page';
import { CreateUserDto, UpdateUserDto, UserDto, UserQuery } from './user.dto';
import { UsersService } from './users.service';

@AdminController('users', 'Users and groups')
export class UsersController {
  constructor(private readonly users: UsersService) {}

  @Post()
  @ApiCreatedResponse({ type: UserDto })
  @ApiOperation({ summary: 'Create a user of a tenant' })
  create(@Body() dto: CreateUserDto): Promise<Readonly<UserDto>> {
    return this.users.create(dto, ADMIN_TOKEN_ACTOR);
  }

  @Get()
  @ApiOperation({ summary: 'Users, newest first' })
  @ApiPageOf(UserDto)
  list(@Query() query: UserQuery): Promise<Page<UserDto>> {
    return this.users.list(query);
  }

  @Get(':id')
  @ApiOkResponse({ type: UserDto })
  @ApiOperation({ summary: 'One user' })
  get(@IdParam() id: string): Promise<Readonly<UserDto>> {
    return this.users.get(id);
  }

  @Patch(':id')
  @ApiOkResponse({ type: UserDto })
  @ApiOperation({ summary: 'Change a user; a suspended one’s keys are refused' })
  update(@IdParam() id: string, @Body() dto: UpdateUserDto): Promise<Readonly<UserDto>> {
    return this.users.update(id, dto, ADMIN_TOKEN_ACTOR);
  }

  @Delete(':id')
  @ApiOkResponse({ type: DeletedDto })
  @ApiOperation({
    summary: 'Delete a user with its quotas and overrides; refused while a key or subscription names it',
  })
  delete(@IdParam() id: string): Promise<Readonly<DeletedDto>> {
    return this.users.delete(id, ADMIN_TOKEN_ACTOR);
  }
}
