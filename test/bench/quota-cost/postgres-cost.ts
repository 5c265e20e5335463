import type { Pool } from 'pg';
import { Invariants } from '../../../src/billing/invariants/invariants.service';
import type { AdmittedHold, HoldRequest } from '../../../src/quota/quota-store.port';
import { PostgresQuotaStore } from '../../../src/quota/postgres-quota.store';
import type { CallerLimits } from '../../../src/quota/scopes/caller-limits';
import { createTenant, holdRequest, type MoneyProcess, ONE_NANO_A_TOKEN, outputOf } from '../../support/money-harness';
import { treeCpuMicros } from '../cpu-clock';
import { BALANCE, COST_NANO_USD, HELD_NANO_USD } from './redis-cost';
import { scopeCount, type ScopeRow } from './scope-rows';

interface Held {
  readonly request: HoldRequest;
  readonly hold: AdmittedHold;
}

const WARM_UP_WAVES = 5;

/**
 * The cost of reserving for one caller while Postgres decides: waves of calls, each reserved together (one statement of
 * the lane) and then settled into the ledger. Only the reserving is measured; what is open stays one wave.
 */
export class PostgresCaller {
  /** Rates are no business of Postgres. */
  readonly scopes: number;
  private readonly store: PostgresQuotaStore;
  private readonly pool: Pool;
  private settled = 0;

  private constructor(
    private readonly money: MoneyProcess,
    private readonly limits: CallerLimits,
    private readonly postgresPid: number,
    private readonly waveSize: number,
  ) {
    this.scopes = scopeCount(limits, { hasRolling: false });
    this.store = money.module.get(PostgresQuotaStore);
    this.pool = money.pool;
  }

  static async create(
    money: MoneyProcess,
    row: ScopeRow,
    { postgresPid, waveSize }: { readonly postgresPid: number; readonly waveSize: number },
  ): Promise<PostgresCaller> {
    const caller = new PostgresCaller(money, await createTenant(money, BALANCE, row.limits), postgresPid, waveSize);
    for (let wave = 0; wave < WARM_UP_WAVES; wave += 1) await caller.settle(await caller.reserve());
    return caller;
  }

  /** @returns CPU microseconds of all processes of Postgres a reservation */
  async measure(waves: number): Promise<number> {
    let micros = 0;
    for (let wave = 0; wave < waves; wave += 1) {
      const before = treeCpuMicros(this.postgresPid);
      const held = await this.reserve();
      // Ticks of 10 ms are coarse for one wave; what one is told too little the next is told too much.
      micros += treeCpuMicros(this.postgresPid) - before;
      await this.settle(held);
    }
    await this.proveSettled();
    return micros / (waves * this.waveSize);
  }

  private reserve(): Promise<readonly Held[]> {
    return Promise.all(
      Array.from({ length: this.waveSize }, async () => {
        const request = holdRequest(this.limits, HELD_NANO_USD);
        const outcome = await this.store.reserve(request);
        if (!outcome.admitted) throw new Error(`refused: ${outcome.refusal.code}`);
        return { request, hold: outcome.hold };
      }),
    );
  }

  private async settle(held: readonly Held[]): Promise<void> {
    await Promise.all(
      held.map(async ({ hold, request }) => {
        const charge = this.money.charges.begin(hold, request, ONE_NANO_A_TOKEN);
        if ('code' in charge) throw new Error(`refused: ${charge.code}`);
        const settled = await charge.settle(outputOf(Number(COST_NANO_USD)));
        if ('code' in settled) throw new Error(`not settled: ${settled.code}`);
      }),
    );
    this.settled += held.length;
  }

  private async proveSettled(): Promise<void> {
    const { tenantId, dailyQuota } = this.limits;
    const { rows } = await this.pool.query<{ status: string; n: string; amount: string }>(
      `select status, count(*) as n, sum(amount_nano_usd) as amount from billing_transaction
        where tenant_id = $1 and type = 'charge' group by status`,
      [tenantId],
    );
    const expected = [
      { status: 'COMMITTED', n: String(this.settled), amount: String(BigInt(this.settled) * COST_NANO_USD) },
    ];
    if (JSON.stringify(rows) !== JSON.stringify(expected)) {
      throw new Error(`expected ${JSON.stringify(expected)}; the database has ${JSON.stringify(rows)}`);
    }
    const { rows: counters } = await this.pool.query<{ used: string }>(
      `select used from quota_counter where tenant_id = $1 and counter = 'day'`,
      [tenantId],
    );
    if (dailyQuota !== null && counters[0]?.used !== String(this.settled)) {
      throw new Error(`the day counts ${counters[0]?.used ?? 'nothing'} of ${this.settled} calls`);
    }
  }
}

/** @throws Error where the ledger does not hold what it promises */
export async function proveInvariants(money: MoneyProcess): Promise<void> {
  const broken = (await money.module.get(Invariants).check()).filter(({ violations }) => violations > 0);
  if (broken.length > 0) throw new Error(`invariants are violated: ${JSON.stringify(broken)}`);
}
