import { setTimeout as pause } from 'node:timers/promises';
import type { LoggerService } from '@nestjs/common';
import { SQL_STATE, sqlStateOf } from '../../platform/database/sql-state';

export interface ForwardWrite<T> {
  readonly batch: readonly T[];
  readonly tenantOf: (item: T) => string;
  /** One statement, one transaction; idempotent by item, because an unanswered COMMIT is sent again. */
  readonly write: (items: readonly T[]) => Promise<void>;
  /** The one item Postgres will never take, or that was still unwritten when the process had to stop. */
  readonly refused: (item: T, error: unknown) => void;
  readonly signal: AbortSignal;
  readonly logger: Pick<LoggerService, 'warn' | 'log'>;
}

const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 1_000;

/**
 * Writes a batch until it stands. By what Postgres says:
 *
 * - 22, 23 (bad data, violated constraint): the batch is halved until the bad item stands alone, which is refused;
 * - 55P03 (lock timeout), 40P01, 40001: halved by tenant, so that a blocked tenant does not block the others; a tenant
 *   alone is tried again;
 * - anything else (away, restarting, answer lost): tried again, with growing pauses, until it stands or `signal` aborts.
 */
export async function writeForward<T>(task: ForwardWrite<T>): Promise<void> {
  let isAway = false;
  for (let attempt = 0; ; attempt += 1) {
    try {
      await task.write(task.batch);
      if (isAway) task.logger.log('Postgres takes writes again');
      return;
    } catch (error) {
      const state = sqlStateOf(error) ?? '';
      if (/^2[23]/.test(state)) {
        await writeHalves(task, error);
        return;
      }
      if (isContention(state) && (await writeTenantsApart(task))) return;
      if (!isContention(state) && !isAway) {
        isAway = true;
        task.logger.warn(`Postgres does not take writes: ${error instanceof Error ? error.message : String(error)}`);
      }
      if (task.signal.aborted) {
        for (const item of task.batch) task.refused(item, error);
        return;
      }
    }
    await pause(Math.min(FIRST_PAUSE_MS * 2 ** attempt, MAX_PAUSE_MS));
  }
}

function isContention(state: string): boolean {
  return (
    state === SQL_STATE.lockNotAvailable ||
    state === SQL_STATE.deadlockDetected ||
    state === SQL_STATE.serializationFailure
  );
}

async function writeHalves<T>(task: ForwardWrite<T>, error: unknown): Promise<void> {
  const [only] = task.batch;
  if (only === undefined) return;
  if (task.batch.length === 1) {
    task.refused(only, error);
    return;
  }
  const middle = Math.floor(task.batch.length / 2);
  await writeForward({ ...task, batch: task.batch.slice(0, middle) });
  await writeForward({ ...task, batch: task.batch.slice(middle) });
}

/** False where the batch is one tenant's already. */
async function writeTenantsApart<T>(task: ForwardWrite<T>): Promise<boolean> {
  const byTenant = Map.groupBy(task.batch, task.tenantOf);
  if (byTenant.size < 2) return false;
  await Promise.all([...byTenant.values()].map((batch) => writeForward({ ...task, batch })));
  return true;
}
