import { Injectable } from '@nestjs/common';
import { DataSource, LessThan } from 'typeorm';
import { ApiKeyAuthenticator } from '../../auth/api-key-authenticator';
import { GroupRpmOverride } from '../../auth/group-rpm-override.entity';
import { TenantGroup } from '../../auth/tenant-group.entity';
import { TenantUser } from '../../auth/tenant-user.entity';
import type { DeletedDto } from '../api-keys/api-key.dto';
import { audit } from '../audit/audit-trail';
import { type Page, pageOf } from '../paging/page';
import type { PageQuery } from '../paging/page-query.dto';
import { notFound } from '../refusals';
import type { RpmOverrideDto, SetRpmOverrideDto } from './group.dto';

interface OverrideKey {
  readonly groupId: string;
  readonly userId: string;
}

const READ = { mode: 'pessimistic_read' } as const;
const WRITE = { mode: 'pessimistic_write' } as const;

/** Rates of single users in a group, instead of the group's. */
@Injectable()
export class RpmOverridesService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly authenticator: ApiKeyAuthenticator,
  ) {}

  async list(groupId: string, query: PageQuery): Promise<Page<RpmOverrideDto>> {
    if (!(await this.dataSource.getRepository(TenantGroup).existsBy({ id: groupId }))) throw notFound('group');
    const rows = await this.dataSource.getRepository(GroupRpmOverride).find({
      where: { groupId, ...(query.after === undefined ? {} : { userId: LessThan(query.after) }) },
      order: { userId: 'DESC' },
      take: query.limit + 1,
    });
    return pageOf(
      rows.map((row) => Object.assign(row, { id: row.userId })),
      query.limit,
      render,
    );
  }

  /** Makes it or changes it: sent twice it is the same. */
  async set(key: OverrideKey, dto: SetRpmOverrideDto, actor: string): Promise<Readonly<RpmOverrideDto>> {
    const row = await this.dataSource.transaction(async (manager) => {
      // The group stays locked: of two that set an override which is not there yet, the second finds the first's.
      const group = await manager.findOne(TenantGroup, { where: { id: key.groupId }, lock: WRITE });
      if (!group) throw notFound('group');
      const { tenantId } = group;
      const user = await manager.findOne(TenantUser, { where: { id: key.userId, tenantId }, lock: READ });
      if (!user) throw notFound('user');
      const standing = await manager.findOneBy(GroupRpmOverride, { ...key });
      const before = standing ? render(standing) : undefined;
      const set = Object.assign(standing ?? manager.create(GroupRpmOverride, { ...key, tenantId }), {
        rpmLimit: dto.rpm_limit,
      });
      const after = render(await manager.save(set));
      const action = before ? 'update' : 'create';
      await audit(manager, { actor, action, entity: 'rpm_override', entityId: nameOf(key), before, after });
      return after;
    });
    this.authenticator.tenantChanged(row.tenant_id);
    return row;
  }

  async delete(key: OverrideKey, actor: string): Promise<Readonly<DeletedDto>> {
    const tenantId = await this.dataSource.transaction(async (manager) => {
      const row = await manager.findOne(GroupRpmOverride, { where: { ...key }, lock: WRITE });
      if (!row) throw notFound('override');
      await manager.delete(GroupRpmOverride, { ...key });
      const before = render(row);
      await audit(manager, { actor, action: 'delete', entity: 'rpm_override', entityId: nameOf(key), before });
      return row.tenantId;
    });
    this.authenticator.tenantChanged(tenantId);
    return { id: key.userId, object: 'rpm_override', deleted: true };
  }
}

/** In the audit log, where one id must name it. */
function nameOf({ groupId, userId }: OverrideKey): string {
  return `${groupId}/${userId}`;
}

function render(row: GroupRpmOverride): Readonly<RpmOverrideDto> {
  return {
    id: row.userId,
    object: 'rpm_override',
    tenant_id: row.tenantId,
    group_id: row.groupId,
    user_id: row.userId,
    rpm_limit: row.rpmLimit,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}
