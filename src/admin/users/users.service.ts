import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { ApiKeyAuthenticator } from '../../auth/api-key-authenticator';
import { TenantUser } from '../../auth/tenant-user.entity';
import { newId } from '../../kernel/ids';
import { SQL_STATE, sqlStateOf } from '../../platform/database/sql-state';
import type { DeletedDto } from '../api-keys/api-key.dto';
import type { Page } from '../paging/page';
import { conflict } from '../refusals';
import { refuseWhereNamed, requireOpenTenant } from '../tenant-rows/references';
import { TenantRows } from '../tenant-rows/tenant-rows';
import type { CreateUserDto, UpdateUserDto, UserDto, UserQuery } from './user.dto';

/** Users of tenants: whom a key was given to, with a rate of their own. */
@Injectable()
export class UsersService {
  private readonly rows: TenantRows<TenantUser, Readonly<UserDto>>;

  constructor(dataSource: DataSource, authenticator: ApiKeyAuthenticator) {
    const kind = { entity: TenantUser, audited: 'user', called: 'user', render } as const;
    this.rows = new TenantRows(dataSource, kind, ({ tenantId }) => {
      authenticator.tenantChanged(tenantId);
    });
  }

  create(dto: CreateUserDto, actor: string): Promise<Readonly<UserDto>> {
    const now = new Date();
    const row = Object.assign(new TenantUser(), {
      id: newId(),
      tenantId: dto.tenant_id,
      name: dto.name,
      externalId: dto.external_id ?? null,
      status: 'active',
      rpmLimit: dto.rpm_limit ?? null,
      createdAt: now,
      updatedAt: now,
    } satisfies Readonly<TenantUser>);
    return this.rows
      .create(actor, async (manager) => {
        await requireOpenTenant(manager, row.tenantId, 'tenant_id');
        return row;
      })
      .catch(refuseTakenExternalId);
  }

  list(query: UserQuery): Promise<Page<UserDto>> {
    return this.rows.list(query, { tenantId: query.tenant_id, externalId: query.external_id, status: query.status });
  }

  get(id: string): Promise<Readonly<UserDto>> {
    return this.rows.get(id);
  }

  update(id: string, dto: UpdateUserDto, actor: string): Promise<Readonly<UserDto>> {
    return this.rows
      .change(id, 'update', actor, (row) => {
        row.name = dto.name ?? row.name;
        row.status = dto.status ?? row.status;
        if (dto.external_id !== undefined) row.externalId = dto.external_id;
        if (dto.rpm_limit !== undefined) row.rpmLimit = dto.rpm_limit;
      })
      .catch(refuseTakenExternalId);
  }

  delete(id: string, actor: string): Promise<Readonly<DeletedDto>> {
    return this.rows.delete(id, actor, (row, manager) => refuseWhereNamed(manager, 'user', row));
  }
}

function refuseTakenExternalId(error: unknown): never {
  if (sqlStateOf(error) !== SQL_STATE.uniqueViolation) throw error;
  throw conflict('external_id', 'another user of the tenant has this external id');
}

function render(row: TenantUser): Readonly<UserDto> {
  return {
    id: row.id,
    object: 'user',
    tenant_id: row.tenantId,
    name: row.name,
    external_id: row.externalId,
    status: row.status,
    rpm_limit: row.rpmLimit,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}
