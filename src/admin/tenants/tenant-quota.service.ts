import { Inject, Injectable } from '@nestjs/common';
import type { Pool } from 'pg';
import { DataSource } from 'typeorm';
import { Tenant } from '../../auth/tenant.entity';
import { TenantBalances } from '../../billing/entities/tenant-balances';
import { CLOCK, type Clock } from '../../kernel/clock';
import { calendarWindow, type CalendarWindow } from '../../kernel/windows';
import { PG_POOL } from '../../platform/database/pg-pool';
import { countRequests } from '../../quota/counted-requests';
import { notFound } from '../refusals';
import { TenantCounters } from './tenant-counters';
import type { QuotaWindowDto, TenantQuotaDto } from './tenant.dto';
import { renderBalance } from './tenant-rendering';

/** How much of each of its limits a tenant has used, counted from the ledger's rows. */
@Injectable()
export class TenantQuotaService {
  constructor(
    private readonly dataSource: DataSource,
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly balances: TenantBalances,
    private readonly counters: TenantCounters,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async get(tenantId: string): Promise<Readonly<TenantQuotaDto>> {
    const [tenant, balance] = await Promise.all([
      this.dataSource.getRepository(Tenant).findOneBy({ id: tenantId }),
      this.balances.of(tenantId),
    ]);
    if (!tenant || !balance) throw notFound('tenant');
    const nowMs = this.clock.nowMs();
    const day = calendarWindow(nowMs, tenant.timezone, 'day');
    const month = calendarWindow(nowMs, tenant.timezone, 'month');
    const [used, { counters, hasMore }] = await Promise.all([
      countRequests(this.pool, tenantId, day, month),
      this.counters.of(tenant),
    ]);
    return {
      object: 'tenant_quota',
      tenant_id: tenantId,
      timezone: tenant.timezone,
      daily: windowOf(tenant.dailyQuota, used.today, day),
      monthly: windowOf(tenant.monthlyQuota, used.thisMonth, month),
      counters,
      has_more: hasMore,
      balance: renderBalance(balance),
    };
  }
}

function windowOf(limit: number | null, used: number, window: CalendarWindow): Readonly<QuotaWindowDto> {
  return {
    limit,
    used,
    remaining: limit === null ? null : Math.max(0, limit - used),
    window_start: new Date(window.startMs).toISOString(),
    resets_at: new Date(window.endMs).toISOString(),
  };
}
