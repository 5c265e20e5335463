import { Inject, Injectable } from '@nestjs/common';
import type { Pool, QueryConfig } from 'pg';
import { CLOCK, type Clock } from '../kernel/clock';
import { Settings } from '../platform/config/settings';
import { PG_POOL } from '../platform/database/pg-pool';
import { type ApiKeyRecord, recordOf } from './api-key-record';
import { API_KEY_ROWS, type ApiKeyRow } from './api-key-rows';
import { FreeAllowances } from './free-allowances';

/** Most digests asked for in one statement, and most that may wait: what is beyond is refused, never queued. */
const MAX_BATCH = 500;
const MAX_WAITING = 10_000;

/** Too many unknown keys at once: the caller is answered 503 instead of queued without end. */
export class LookupOverloadedError extends Error {
  override readonly name = 'LookupOverloadedError';
}

interface Waiter {
  resolve(record: ApiKeyRecord | undefined): void;
  reject(error: unknown): void;
}

interface Question {
  readonly digest: Buffer;
  readonly waiters: Waiter[];
}

/**
 * Reads keys from Postgres by digest. One statement is under way at a time and carries everything that waits, so a flood
 * of unknown keys costs one connection, however large it is. A call never joins a statement that started before it:
 * what it gets is as fresh as a query of its own.
 */
@Injectable()
export class ApiKeyLookup {
  private readonly questions = new Map<string, Question>();
  private isRunning = false;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly settings: Settings,
    private readonly allowances: FreeAllowances,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** Rejects where Postgres does not answer in time, or with LookupOverloadedError. */
  find(digest: Buffer): Promise<ApiKeyRecord | undefined> {
    const cacheKey = digest.toString('latin1');
    const shared = this.questions.get(cacheKey);
    if (!shared && this.questions.size >= MAX_WAITING) return Promise.reject(new LookupOverloadedError());
    const answer = new Promise<ApiKeyRecord | undefined>((resolve, reject) => {
      if (shared) shared.waiters.push({ resolve, reject });
      else this.questions.set(cacheKey, { digest, waiters: [{ resolve, reject }] });
    });
    if (!this.isRunning) void this.drain();
    return answer;
  }

  private async drain(): Promise<void> {
    this.isRunning = true;
    while (this.questions.size > 0) await this.run(this.takeBatch());
    this.isRunning = false;
  }

  private takeBatch(): Map<string, Question> {
    const batch = new Map([...this.questions].slice(0, MAX_BATCH));
    for (const cacheKey of batch.keys()) this.questions.delete(cacheKey);
    return batch;
  }

  private async run(batch: ReadonlyMap<string, Question>): Promise<void> {
    try {
      const digests = [...batch.values()].map(({ digest }) => digest);
      const rows = await this.rowsWithAllowances(digests);
      const records = new Map(rows.map((row) => [row.digest.toString('latin1'), recordOf(row)]));
      for (const [cacheKey, { waiters }] of batch) {
        for (const waiter of waiters) waiter.resolve(records.get(cacheKey));
      }
    } catch (error) {
      for (const { waiters } of batch.values()) {
        for (const waiter of waiters) waiter.reject(error);
      }
    }
  }

  /** A tenant's first look-up makes its free allowances, then reads what became of them: another's row may stand. */
  private async rowsWithAllowances(digests: readonly Buffer[]): Promise<readonly ApiKeyRow[]> {
    const rows = await this.rowsOf(digests);
    const lacking = rows.filter((row) => !this.allowances.areIn(row.allowances)).map((row) => row.tenant_id);
    if (lacking.length === 0) return rows;
    await this.allowances.make(new Set(lacking), this.settings.billingWaitMs);
    return this.rowsOf(digests);
  }

  private async rowsOf(digests: readonly Buffer[]): Promise<readonly ApiKeyRow[]> {
    const query: QueryConfig & { query_timeout: number } = {
      name: 'api-keys-by-digest',
      text: API_KEY_ROWS,
      values: [digests, this.clock.nowMs()],
      query_timeout: this.settings.billingWaitMs,
    };
    const { rows } = await this.pool.query<ApiKeyRow>(query);
    return rows;
  }
}
