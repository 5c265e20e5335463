import { Injectable } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { FreeAllowances, isService } from '../../auth/free-allowances';
import { SERVICES } from '../../quota/scopes/caller-limits';
import type { ChangedFreeAllowancesDto, FreeAllowancesDto } from './tenant.dto';

interface AllowanceRow {
  readonly tenant_id: string;
  readonly service: string;
  readonly monthly_calls: string;
}

/** Free allowances of tenants; one without a row has what FREE_ALLOWANCES will make of it on its first call. */
@Injectable()
export class TenantAllowances {
  constructor(
    private readonly dataSource: DataSource,
    private readonly configured: FreeAllowances,
  ) {}

  /** `manager` for who changes them in the same transaction. */
  async of(tenantId: string, manager: EntityManager = this.dataSource.manager): Promise<Readonly<FreeAllowancesDto>> {
    return (await this.ofAll([tenantId], manager)).get(tenantId) ?? this.render([]);
  }

  /** One for each of the ids. */
  async ofAll(
    tenantIds: readonly string[],
    manager: EntityManager = this.dataSource.manager,
  ): Promise<ReadonlyMap<string, Readonly<FreeAllowancesDto>>> {
    const rows: AllowanceRow[] = await manager.query(
      `select tenant_id, service, monthly_calls from free_allowance where tenant_id = any ($1)`,
      [tenantIds],
    );
    return new Map(tenantIds.map((id) => [id, this.render(rows.filter(({ tenant_id }) => tenant_id === id))]));
  }

  /** Those that are not named stay. */
  async set(manager: EntityManager, tenantId: string, changes: ChangedFreeAllowancesDto): Promise<void> {
    const entries = SERVICES.map((service) => [service, changes[service]] as const).filter(
      ([, calls]) => calls !== undefined,
    );
    await manager.query(
      `insert into free_allowance (tenant_id, service, monthly_calls)
       select $1, c.service, c.calls from unnest($2::text[], $3::bigint[]) c (service, calls)
           on conflict (tenant_id, service) do update set monthly_calls = excluded.monthly_calls`,
      [tenantId, entries.map(([service]) => service), entries.map(([, calls]) => calls)],
    );
  }

  private render(rows: readonly AllowanceRow[]): Readonly<FreeAllowancesDto> {
    const { configured } = this.configured;
    const allowances = { chat: configured.get('chat') ?? 0, embeddings: configured.get('embeddings') ?? 0 };
    for (const { service, monthly_calls } of rows) {
      if (isService(service)) allowances[service] = Number(monthly_calls);
    }
    return allowances;
  }
}
