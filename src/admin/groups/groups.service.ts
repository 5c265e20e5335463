import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { ApiKeyAuthenticator } from '../../auth/api-key-authenticator';
import { TenantGroup } from '../../auth/tenant-group.entity';
import { multiplierMillionthsOf, toDecimalMultiplier } from '../../catalogue/price-multiplier';
import { newId } from '../../kernel/ids';
import type { DeletedDto } from '../api-keys/api-key.dto';
import type { Page } from '../paging/page';
import { refuseWhereNamed, requireOpenTenant } from '../tenant-rows/references';
import { TenantRows } from '../tenant-rows/tenant-rows';
import type { CreateGroupDto, GroupDto, GroupQuery, UpdateGroupDto } from './group.dto';

/** Groups of keys: a rate for each user in it, what their calls cost, and whether a subscription pays. */
@Injectable()
export class GroupsService {
  private readonly rows: TenantRows<TenantGroup, Readonly<GroupDto>>;

  constructor(dataSource: DataSource, authenticator: ApiKeyAuthenticator) {
    const kind = { entity: TenantGroup, audited: 'group', called: 'group', render } as const;
    this.rows = new TenantRows(dataSource, kind, ({ tenantId }) => {
      authenticator.tenantChanged(tenantId);
    });
  }

  create(dto: CreateGroupDto, actor: string): Promise<Readonly<GroupDto>> {
    const now = new Date();
    const row = Object.assign(new TenantGroup(), {
      id: newId(),
      tenantId: dto.tenant_id,
      name: dto.name,
      kind: dto.kind ?? 'standard',
      rpmLimit: dto.rpm_limit ?? null,
      priceMultiplierMillionths: multiplierMillionthsOf(dto.price_multiplier ?? '1'),
      createdAt: now,
      updatedAt: now,
    } satisfies Readonly<TenantGroup>);
    return this.rows.create(actor, async (manager) => {
      await requireOpenTenant(manager, row.tenantId, 'tenant_id');
      return row;
    });
  }

  list(query: GroupQuery): Promise<Page<GroupDto>> {
    return this.rows.list(query, { tenantId: query.tenant_id, kind: query.kind });
  }

  get(id: string): Promise<Readonly<GroupDto>> {
    return this.rows.get(id);
  }

  update(id: string, dto: UpdateGroupDto, actor: string): Promise<Readonly<GroupDto>> {
    return this.rows.change(id, 'update', actor, (row) => {
      row.name = dto.name ?? row.name;
      if (dto.rpm_limit !== undefined) row.rpmLimit = dto.rpm_limit;
      if (dto.price_multiplier !== undefined) {
        row.priceMultiplierMillionths = multiplierMillionthsOf(dto.price_multiplier);
      }
    });
  }

  delete(id: string, actor: string): Promise<Readonly<DeletedDto>> {
    return this.rows.delete(id, actor, (row, manager) => refuseWhereNamed(manager, 'group', row));
  }
}

function render(row: TenantGroup): Readonly<GroupDto> {
  return {
    id: row.id,
    object: 'group',
    tenant_id: row.tenantId,
    name: row.name,
    kind: row.kind,
    rpm_limit: row.rpmLimit,
    price_multiplier: toDecimalMultiplier(row.priceMultiplierMillionths),
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}
