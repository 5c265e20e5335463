import { Inject, Injectable } from '@nestjs/common';
import type { Pool } from 'pg';
import { DataSource } from 'typeorm';
import { Tenant } from '../../auth/tenant.entity';
import { TenantBalances } from '../../billing/entities/tenant-balances';
import { CLOCK, type Clock } from '../../kernel/clock';
import { floorOfTime } from '../../kernel/ids';
import { calendarWindow, type CalendarWindow } from '../../kernel/windows';
import { PG_POOL } from '../../platform/database/pg-pool';
import { notFound } from '../refusals';
import type { QuotaWindowDto, TenantQuotaDto } from './tenant.dto';
import { renderBalance } from './tenant-rendering';

/** Clocks of processes may differ by this much: rows of a window are looked for from this long before its start. */
const CLOCK_SLACK_MS = 600_000;

/** How much of its request quotas a tenant has used, counted from the ledger's rows. */
@Injectable()
export class TenantQuotaService {
  constructor(
    private readonly dataSource: DataSource,
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly balances: TenantBalances,
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
    const used = await this.countRequests(tenantId, day, month);
    return {
      object: 'tenant_quota',
      tenant_id: tenantId,
      timezone: tenant.timezone,
      daily: windowOf(tenant.dailyQuota, used.day, day),
      monthly: windowOf(tenant.monthlyQuota, used.month, month),
      balance: renderBalance(balance),
    };
  }

  private async countRequests(
    tenantId: string,
    day: CalendarWindow,
    month: CalendarWindow,
  ): Promise<{ day: number; month: number }> {
    const { rows } = await this.pool.query<{ day: string; month: string }>(USED, [
      tenantId,
      floorOfTime(month.startMs - CLOCK_SLACK_MS),
      new Date(day.startMs),
      new Date(month.startMs),
    ]);
    return { day: Number(rows[0]?.day ?? 0), month: Number(rows[0]?.month ?? 0) };
  }
}

/** A row counts in the windows frozen into it; trace ids carry time, so the month is an index range. */
const USED = `
select count(*) filter (where day_window_start = $3) as day, count(*) filter (where month_window_start = $4) as month
  from billing_transaction
 where tenant_id = $1 and trace_id >= $2 and type = 'charge' and status <> 'VOIDED'`;

function windowOf(limit: number | null, used: number, window: CalendarWindow): Readonly<QuotaWindowDto> {
  return {
    limit,
    used,
    remaining: limit === null ? null : Math.max(0, limit - used),
    window_start: new Date(window.startMs).toISOString(),
    resets_at: new Date(window.endMs).toISOString(),
  };
}
