import { setTimeout as pause } from 'node:timers/promises';
import type { LoggerService } from '@nestjs/common';
import { SQL_STATE, sqlStateOf } from '../../platform/database/sql-state';
import { isRefusedData, writeHalving } from './write-halving';

export interface ForwardWrite<T> {
  readonly batch: readonly T[];
  /** One statement, one transaction; idempotent by item, because an unanswered COMMIT is sent again. */
  readonly write: (items: readonly T[]) => Promise<void>;
  /** The one item Postgres will never take, or that was still unwritten when the process had to stop. */
  readonly refused: (item: T, error: unknown) => void;
  /** Takes over items of which somebody else has locked a row; absent: they are tried again like any other. */
  readonly contended?: (items: readonly T[]) => void;
  readonly signal: AbortSignal;
  readonly log: AwayLog;
}

const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 1_000;

/**
 * Writes a batch until it stands, or until nothing of it is left to this call. Never rejects. By what Postgres says:
 *
 * - 22, 23 (bad data, violated constraint): the batch is halved until the bad item stands alone, which is refused;
 * - 55P03 (lock timeout), 40P01, 40001: handed to `contended`, where there is one;
 * - anything else (away, restarting, answer lost): tried again, with growing pauses, until it stands or `signal` aborts.
 */
export function writeForward<T>(task: ForwardWrite<T>): Promise<void> {
  return writeHalving(task.batch, (items) => writeUntilTaken(task, items), task.refused);
}

/** Rejects only where Postgres refuses the data. */
async function writeUntilTaken<T>(task: ForwardWrite<T>, items: readonly T[]): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await task.write(items);
      task.log.taken();
      return;
    } catch (error) {
      if (isRefusedData(error)) throw error;
      const isContended = isContention(error);
      if (isContended && task.contended) {
        task.contended(items);
        return;
      }
      if (!isContended) task.log.away(error);
      if (task.signal.aborted) {
        for (const item of items) task.refused(item, error);
        return;
      }
    }
    // An abort ends the pause: there is one more attempt.
    await pause(Math.min(FIRST_PAUSE_MS * 2 ** attempt, MAX_PAUSE_MS), undefined, { signal: task.signal }).catch(
      () => undefined,
    );
  }
}

function isContention(error: unknown): boolean {
  const state = sqlStateOf(error);
  return (
    state === SQL_STATE.lockNotAvailable ||
    state === SQL_STATE.deadlockDetected ||
    state === SQL_STATE.serializationFailure
  );
}

/** Says once that Postgres is away, and once that it is back, however many writes meet it. */
export class AwayLog {
  private isAway = false;

  constructor(private readonly logger: Pick<LoggerService, 'warn' | 'log'>) {}

  away(error: unknown): void {
    if (this.isAway) return;
    this.isAway = true;
    this.logger.warn(`Postgres does not take writes: ${error instanceof Error ? error.message : String(error)}`);
  }

  taken(): void {
    if (!this.isAway) return;
    this.isAway = false;
    this.logger.log('Postgres takes writes again');
  }
}
