import { Inject, Injectable } from '@nestjs/common';
import type { Pool, QueryConfig } from 'pg';
import { BootError } from '../platform/config/boot-error';
import { Settings } from '../platform/config/settings';
import { PG_POOL } from '../platform/database/pg-pool';
import { type Service, SERVICES } from '../quota/scopes/caller-limits';

export function isService(name: string): name is Service {
  return (SERVICES as readonly string[]).includes(name);
}

/** What a tenant may call free of charge unless an administrator says otherwise: FREE_ALLOWANCES. */
@Injectable()
export class FreeAllowances {
  /** Calls a calendar month by service. */
  readonly configured: ReadonlyMap<Service, number>;

  constructor(
    settings: Settings,
    @Inject(PG_POOL) private readonly pool: Pool,
  ) {
    this.configured = parseFreeAllowances(settings.freeAllowances);
  }

  /** Whether a tenant with rows for these services has one for each service that is configured. */
  areIn(services: Readonly<Record<string, unknown>> | null): boolean {
    for (const service of this.configured.keys()) if (services?.[service] === undefined) return false;
    return true;
  }

  /** Makes the rows that these tenants lack. Whoever comes second, another process among them, changes nothing. */
  async make(tenantIds: ReadonlySet<string>, withinMs: number): Promise<void> {
    const query: QueryConfig & { query_timeout: number } = {
      name: 'make-free-allowances',
      text: MAKE_ROWS,
      values: [[...tenantIds].sort(), [...this.configured.keys()], [...this.configured.values()]],
      query_timeout: withinMs,
    };
    await this.pool.query(query);
  }
}

/** In the order of the tenants: two processes that make the same rows wait for each other, never in a circle. */
const MAKE_ROWS = `
insert into free_allowance (tenant_id, service, monthly_calls)
select t.id, c.service, c.calls
  from unnest($1::uuid[]) with ordinality t (id, place)
 cross join unnest($2::text[], $3::bigint[]) with ordinality c (service, calls, place)
 order by t.place, c.place
    on conflict do nothing`;

/** From `chat=100,embeddings=50`; the settings have checked its form. Throws BootError. */
export function parseFreeAllowances(text: string): ReadonlyMap<Service, number> {
  const allowances = new Map<Service, number>();
  for (const part of text === '' ? [] : text.split(',')) {
    const [service = '', calls] = part.split('=');
    if (!isService(service)) {
      throw new BootError(`FREE_ALLOWANCES must name services among ${SERVICES.join(', ')}`);
    }
    if (allowances.has(service)) throw new BootError(`FREE_ALLOWANCES must name the service ${service} once`);
    allowances.set(service, Number(calls));
  }
  return allowances;
}
