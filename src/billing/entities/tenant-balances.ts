import { Inject, Injectable } from '@nestjs/common';
import type { Pool } from 'pg';
import { addNanoUsd, type NanoUsd, nanoUsd, subtractNanoUsd } from '../../kernel/money';
import { PG_POOL } from '../../platform/database/pg-pool';
import { OLDEST_OPEN_ID } from '../../quota/oldest-open-id';

/** What a tenant has, as Postgres knows it. */
export interface TenantBalance {
  readonly posted: NanoUsd;
  readonly creditLimit: NanoUsd;
  /** Σ holds of charges that have not ended. */
  readonly held: NanoUsd;
  /** posted + credit limit − held: what the next call may cost. */
  readonly available: NanoUsd;
  /** What calls cost beyond balance and credit limit, still owed; the next credit repays it first. */
  readonly overrun: NanoUsd;
}

interface BalanceRow {
  readonly tenant_id: string;
  readonly posted: string;
  readonly credit_limit: string;
  readonly overrun: string;
  readonly held: string;
}

/** Reads balances and open holds of tenants in one statement, so that they belong together. */
@Injectable()
export class TenantBalances {
  constructor(@Inject(PG_POOL) private readonly pool: Pool) {}

  async of(tenantId: string): Promise<TenantBalance | undefined> {
    return (await this.ofAll([tenantId])).get(tenantId);
  }

  /** Tenants that do not exist are absent. */
  async ofAll(tenantIds: readonly string[]): Promise<ReadonlyMap<string, TenantBalance>> {
    const { rows } = await this.pool.query<BalanceRow>(BALANCES, [tenantIds]);
    return new Map(rows.map((row) => [row.tenant_id, balanceOf(row)]));
  }
}

const BALANCES = `
select w.tenant_id, w.posted_nano_usd as posted, w.credit_limit_nano_usd as credit_limit,
       -o.posted_nano_usd as overrun,
       (select coalesce(sum(b.hold_nano_usd), 0) from billing_transaction b
         where b.tenant_id = w.tenant_id and b.status = 'PENDING' and b.trace_id >= ${OLDEST_OPEN_ID}) as held
  from ledger_account w
  join ledger_account o on o.tenant_id = w.tenant_id and o.name = 'overrun'
 where w.tenant_id = any ($1::uuid[]) and w.name = 'wallet'`;

function balanceOf(row: BalanceRow): TenantBalance {
  const posted = nanoUsd(row.posted);
  const creditLimit = nanoUsd(row.credit_limit);
  const held = nanoUsd(row.held);
  return {
    posted,
    creditLimit,
    held,
    available: subtractNanoUsd(addNanoUsd(posted, creditLimit), held),
    overrun: nanoUsd(row.overrun),
  };
}
