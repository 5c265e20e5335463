import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { ApiKeyAuthenticator } from '../../auth/api-key-authenticator';
import { UserPlatformQuota } from '../../auth/user-platform-quota.entity';
import { newId } from '../../kernel/ids';
import { SQL_STATE, sqlStateOf } from '../../platform/database/sql-state';
import type { DeletedDto } from '../api-keys/api-key.dto';
import { changedUsdLimits, NO_USD_LIMITS, renderUsdLimits } from '../limits/usd-limits';
import type { Page } from '../paging/page';
import { conflict } from '../refusals';
import { requireOpenTenant, requireUser } from '../tenant-rows/references';
import { TenantRows } from '../tenant-rows/tenant-rows';
import type {
  CreateUserPlatformQuotaDto,
  UpdateUserPlatformQuotaDto,
  UserPlatformQuotaDto,
  UserPlatformQuotaQuery,
} from './user-platform-quota.dto';

/** What users may spend at providers of one kind, where the tenant's own money pays. */
@Injectable()
export class UserPlatformQuotasService {
  private readonly rows: TenantRows<UserPlatformQuota, Readonly<UserPlatformQuotaDto>>;

  constructor(dataSource: DataSource, authenticator: ApiKeyAuthenticator) {
    const kind = {
      entity: UserPlatformQuota,
      audited: 'user_platform_quota',
      called: 'user platform quota',
      render,
    } as const;
    this.rows = new TenantRows(dataSource, kind, ({ tenantId }) => {
      authenticator.tenantChanged(tenantId);
    });
  }

  create(dto: CreateUserPlatformQuotaDto, actor: string): Promise<Readonly<UserPlatformQuotaDto>> {
    return this.rows
      .create(actor, async (manager) => {
        const user = await requireUser(manager, { id: dto.user_id });
        await requireOpenTenant(manager, user.tenantId, 'user_id');
        const now = new Date();
        return Object.assign(new UserPlatformQuota(), {
          id: newId(),
          tenantId: user.tenantId,
          userId: user.id,
          platform: dto.platform,
          ...changedUsdLimits(dto, NO_USD_LIMITS),
          createdAt: now,
          updatedAt: now,
        } satisfies Readonly<UserPlatformQuota>);
      })
      .catch(refuseSecond);
  }

  list(query: UserPlatformQuotaQuery): Promise<Page<UserPlatformQuotaDto>> {
    return this.rows.list(query, { tenantId: query.tenant_id, userId: query.user_id });
  }

  get(id: string): Promise<Readonly<UserPlatformQuotaDto>> {
    return this.rows.get(id);
  }

  update(id: string, dto: UpdateUserPlatformQuotaDto, actor: string): Promise<Readonly<UserPlatformQuotaDto>> {
    return this.rows.change(id, 'update', actor, (row) => {
      Object.assign(row, changedUsdLimits(dto, row));
    });
  }

  delete(id: string, actor: string): Promise<Readonly<DeletedDto>> {
    return this.rows.delete(id, actor);
  }
}

function refuseSecond(error: unknown): never {
  if (sqlStateOf(error) !== SQL_STATE.uniqueViolation) throw error;
  throw conflict('platform', 'the user has a quota at this platform: change that one');
}

function render(row: UserPlatformQuota): Readonly<UserPlatformQuotaDto> {
  return {
    id: row.id,
    object: 'user_platform_quota',
    tenant_id: row.tenantId,
    user_id: row.userId,
    platform: row.platform,
    ...renderUsdLimits(row),
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}
