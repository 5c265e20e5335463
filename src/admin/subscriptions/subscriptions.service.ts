import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { ApiKeyAuthenticator } from '../../auth/api-key-authenticator';
import { Subscription } from '../../auth/subscription.entity';
import { CLOCK, type Clock } from '../../kernel/clock';
import { newId } from '../../kernel/ids';
import { changedUsdLimits, NO_USD_LIMITS, renderUsdLimits } from '../limits/usd-limits';
import type { Page } from '../paging/page';
import { conflict, invalid } from '../refusals';
import { requireGroup, requireOpenTenant, requireUser } from '../tenant-rows/references';
import { TenantRows } from '../tenant-rows/tenant-rows';
import type {
  CreateSubscriptionDto,
  SubscriptionDto,
  SubscriptionQuery,
  UpdateSubscriptionDto,
} from './subscription.dto';

/** Subscriptions: what pays for the keys of a subscription group. Closed, never deleted. */
@Injectable()
export class SubscriptionsService {
  private readonly rows: TenantRows<Subscription, Readonly<SubscriptionDto>>;

  constructor(
    dataSource: DataSource,
    authenticator: ApiKeyAuthenticator,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {
    const kind = { entity: Subscription, audited: 'subscription', called: 'subscription', render } as const;
    this.rows = new TenantRows(dataSource, kind, ({ tenantId }) => {
      authenticator.tenantChanged(tenantId);
    });
  }

  create(dto: CreateSubscriptionDto, actor: string): Promise<Readonly<SubscriptionDto>> {
    return this.rows.create(actor, async (manager) => {
      const group = await requireGroup(manager, { id: dto.group_id });
      await requireOpenTenant(manager, group.tenantId, 'group_id');
      if (group.kind !== 'subscription') throw invalid('group_id', 'must be a group of kind subscription');
      const user = dto.user_id ? await requireUser(manager, { id: dto.user_id, tenantId: group.tenantId }) : undefined;
      const now = new Date();
      const row = Object.assign(new Subscription(), {
        id: newId(),
        tenantId: group.tenantId,
        groupId: group.id,
        userId: user?.id ?? null,
        status: 'active',
        startsAt: dto.starts_at === undefined ? new Date(this.clock.nowMs()) : instantOf(dto.starts_at, 'starts_at'),
        endsAt: dto.ends_at ? instantOf(dto.ends_at, 'ends_at') : null,
        ...changedUsdLimits(dto, NO_USD_LIMITS),
        createdAt: now,
        updatedAt: now,
      } satisfies Readonly<Subscription>);
      assertEndsAfterStart(row);
      return row;
    });
  }

  list(query: SubscriptionQuery): Promise<Page<SubscriptionDto>> {
    return this.rows.list(query, {
      tenantId: query.tenant_id,
      groupId: query.group_id,
      userId: query.user_id,
      status: query.status,
    });
  }

  get(id: string): Promise<Readonly<SubscriptionDto>> {
    return this.rows.get(id);
  }

  update(id: string, dto: UpdateSubscriptionDto, actor: string): Promise<Readonly<SubscriptionDto>> {
    return this.rows.change(id, 'update', actor, (row) => {
      if (row.status === 'closed') throw conflict('id', 'the subscription is closed');
      row.status = dto.status ?? row.status;
      if (dto.starts_at !== undefined) row.startsAt = instantOf(dto.starts_at, 'starts_at');
      if (dto.ends_at !== undefined) row.endsAt = dto.ends_at === null ? null : instantOf(dto.ends_at, 'ends_at');
      assertEndsAfterStart(row);
      Object.assign(row, changedUsdLimits(dto, row));
    });
  }

  /** For good. Closing twice is harmless. */
  close(id: string, actor: string): Promise<Readonly<SubscriptionDto>> {
    return this.rows.change(id, 'close', actor, (row) => {
      row.status = 'closed';
    });
  }
}

/** ISO 8601 also has weeks and years that no calendar of ours reaches. */
function instantOf(text: string, param: 'starts_at' | 'ends_at'): Date {
  const instant = new Date(text);
  const year = instant.getUTCFullYear();
  if (!(year >= 1970 && year <= 9999)) throw invalid(param, 'must be an instant of the years 1970 to 9999');
  return instant;
}

function assertEndsAfterStart({ startsAt, endsAt }: Subscription): void {
  if (endsAt !== null && endsAt.getTime() <= startsAt.getTime()) throw invalid('ends_at', 'must lie after starts_at');
}

function render(row: Subscription): Readonly<SubscriptionDto> {
  return {
    id: row.id,
    object: 'subscription',
    tenant_id: row.tenantId,
    group_id: row.groupId,
    user_id: row.userId,
    status: row.status,
    starts_at: row.startsAt.toISOString(),
    ends_at: row.endsAt?.toISOString() ?? null,
    ...renderUsdLimits(row),
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}
