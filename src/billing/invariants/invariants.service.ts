import { Inject, Injectable } from '@nestjs/common';
import type { Pool } from 'pg';
import { PG_POOL } from '../../platform/database/pg-pool';
import { Metrics } from '../../platform/metrics/metrics';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { type InvariantResult, MAX_EXAMPLES } from './invariant';
import { checkLedgerInvariant, LEDGER_INVARIANTS } from './ledger-invariants';
import { checkProjection, type ProjectedVerdict } from './projection-invariant';

/** All of a ledger is looked at: the server's bound for that, and the driver's, which is the later one. */
const STATEMENT_MS = 60_000;
const ANSWER_MS = STATEMENT_MS + 2_000;

/** Proves, on demand, what money.md promises. Reads only; safe under load. */
@Injectable()
export class Invariants {
  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly redis: RedisConnection,
    private readonly metrics: Metrics,
  ) {}

  async check(): Promise<readonly InvariantResult[]> {
    const ledger = await this.checkLedger();
    const { balance, counters } = await checkProjection(this.pool, this.redis);
    const results = ledger.map((result) => (result.id === 'I8' ? withProjection(result, counters) : result));
    results.splice(1, 0, balance);
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
      // Before the snapshot is taken: with it, no month is taken out whose opening balances it does not see.
      await client.query('lock table ledger_transfer in access share mode');
      const results: InvariantResult[] = [];
      for (const invariant of LEDGER_INVARIANTS) results.push(await checkLedgerInvariant(client, invariant, ANSWER_MS));
      await client.query('commit');
      broken = false;
      return results;
    } finally {
      client.release(broken);
    }
  }
}

/** I8 has a side in the ledger and one in Redis. */
function withProjection(ledger: InvariantResult, projected: ProjectedVerdict): InvariantResult {
  const verdict = ledger.verdict === 'holds' ? projected.verdict : ledger.verdict;
  return {
    ...ledger,
    verdict,
    checked: ledger.checked + projected.checked,
    violations: ledger.violations + projected.violations,
    examples: [...ledger.examples, ...projected.examples].slice(0, MAX_EXAMPLES),
  };
}
