import { Inject, Injectable } from '@nestjs/common';
import type { Pool } from 'pg';
import { PG_POOL } from '../../platform/database/pg-pool';
import { Metrics } from '../../platform/metrics/metrics';
import { RedisConnection } from '../../platform/redis/redis-connection';
import type { InvariantResult } from './invariant';
import { checkLedgerInvariant, LEDGER_INVARIANTS } from './ledger-invariants';
import { checkProjection } from './projection-invariant';

const STATEMENT_MS = 60_000;

/** Proves, on demand, what money.md promises. Reads only; safe under load. */
@Injectable()
export class Invariants {
  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly redis: RedisConnection,
    private readonly metrics: Metrics,
  ) {}

  async check(): Promise<readonly InvariantResult[]> {
    const results = await this.checkLedger();
    results.splice(1, 0, await checkProjection(this.pool, this.redis));
    this.metrics.invariantViolations.set(results.reduce((sum, { violations }) => sum + violations, 0));
    return results;
  }

  /** One snapshot for all: nothing that commits meanwhile is half seen. */
  private async checkLedger(): Promise<InvariantResult[]> {
    const client = await this.pool.connect();
    let broken = true;
    try {
      await client.query('begin isolation level repeatable read read only');
      await client.query(`set local statement_timeout = ${STATEMENT_MS}`);
      const results: InvariantResult[] = [];
      for (const invariant of LEDGER_INVARIANTS) results.push(await checkLedgerInvariant(client, invariant));
      await client.query('commit');
      broken = false;
      return results;
    } finally {
      client.release(broken);
    }
  }
}
