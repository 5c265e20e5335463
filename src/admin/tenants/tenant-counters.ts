import { Injectable } from '@nestjs/common';
import { DataSource, IsNull, Not } from 'typeorm';
import { ApiKey } from '../../auth/api-key.entity';
import { Subscription } from '../../auth/subscription.entity';
import type { Tenant } from '../../auth/tenant.entity';
import { UserPlatformQuota } from '../../auth/user-platform-quota.entity';
import { SERVICES } from '../../quota/scopes/caller-limits';
import type { ScopeSpec } from '../../quota/scopes/scope';
import { keyLimits } from '../api-keys/api-key-rendering';
import type { CounterDto } from '../limits/counter.dto';
import { CounterViews } from '../limits/counter-views';
import { TenantAllowances } from './tenant-allowances';

/** Rows of a kind that are looked at: a tenant may have any number of keys. */
const MOST_OF_A_KIND = 100;

interface Found {
  readonly scopes: readonly ScopeSpec[];
  readonly hasMore: boolean;
}

/** Every limit of a tenant that is counted, with its use, except its request quotas. */
@Injectable()
export class TenantCounters {
  constructor(
    private readonly dataSource: DataSource,
    private readonly allowances: TenantAllowances,
    private readonly views: CounterViews,
  ) {}

  async of(tenant: Tenant): Promise<{ readonly counters: readonly Readonly<CounterDto>[]; readonly hasMore: boolean }> {
    const found = await Promise.all([
      this.ofTenant(tenant),
      this.ofSubscriptions(tenant),
      this.ofUsers(tenant),
      this.ofKeys(tenant),
    ]);
    const scopes = found.flatMap((part) => part.scopes);
    return { counters: await this.views.of(tenant.id, scopes), hasMore: found.some(({ hasMore }) => hasMore) };
  }

  private async ofTenant(tenant: Tenant): Promise<Found> {
    const { rpmLimit: rpm, tpmLimit: tpm, concurrencyLimit: concurrency } = tenant;
    const allowances = await this.allowances.of(tenant.id);
    const scopes = [
      ...this.views.scopesOf(tenant, { rpm, tpm, concurrency }),
      ...SERVICES.flatMap((service) =>
        this.views.scopesOf(tenant, { allowances: new Map([[service, allowances[service]]]) }, { service }),
      ),
    ];
    return { scopes, hasMore: false };
  }

  private async ofSubscriptions(tenant: Tenant): Promise<Found> {
    const rows = await this.dataSource.getRepository(Subscription).find({
      where: { tenantId: tenant.id, status: Not('closed') },
      order: { id: 'DESC' },
      take: MOST_OF_A_KIND + 1,
    });
    return firstOf(rows, (row) =>
      this.views.scopesOf(tenant, {
        subscription: {
          subscriptionId: row.id,
          isActive: row.status === 'active',
          startsAtMs: row.startsAt.getTime(),
          endsAtMs: row.endsAt?.getTime() ?? Number.POSITIVE_INFINITY,
          ...usdLimitsOf(row),
        },
      }),
    );
  }

  private async ofUsers(tenant: Tenant): Promise<Found> {
    const rows = await this.dataSource.getRepository(UserPlatformQuota).find({
      where: { tenantId: tenant.id },
      order: { id: 'DESC' },
      take: MOST_OF_A_KIND + 1,
    });
    return firstOf(rows, (row) => {
      const { userId, platform } = row;
      const user = { userId, rpm: null, platforms: new Map([[platform, usdLimitsOf(row)]]) };
      return this.views.scopesOf(tenant, { user }, { platform });
    });
  }

  private async ofKeys(tenant: Tenant): Promise<Found> {
    const usable = { tenantId: tenant.id, revokedAt: IsNull() };
    const isSet = Not(IsNull());
    const rows = await this.dataSource.getRepository(ApiKey).find({
      where: [
        { ...usable, budgetNanoUsd: isSet },
        { ...usable, limit5hNanoUsd: isSet },
        { ...usable, limit1dNanoUsd: isSet },
        { ...usable, limit7dNanoUsd: isSet },
      ],
      order: { id: 'DESC' },
      take: MOST_OF_A_KIND + 1,
    });
    return firstOf(rows, (row) => this.views.scopesOf(tenant, { key: keyLimits(row) }));
  }
}

function firstOf<Row>(rows: readonly Row[], scopesOf: (row: Row) => readonly ScopeSpec[]): Found {
  return { scopes: rows.slice(0, MOST_OF_A_KIND).flatMap(scopesOf), hasMore: rows.length > MOST_OF_A_KIND };
}

function usdLimitsOf(row: Subscription | UserPlatformQuota) {
  return { day: row.dailyLimitNanoUsd, week: row.weeklyLimitNanoUsd, month: row.monthlyLimitNanoUsd };
}
