import { setTimeout as pause } from 'node:timers/promises';
import type { LoggerService } from '@nestjs/common';
import { isContention, isRefusedData, saysAway, sqlStateOf } from '../../platform/database/sql-state';
import { retryPauseMs } from './retry-pause';
import { writeHalving } from './write-halving';
import { messageOf } from '../../kernel/error-message';

export interface ForwardWrite<T> {
  readonly batch: readonly T[];
  /** One statement, one transaction; idempotent by item, because an unanswered COMMIT is sent again. */
  readonly write: (items: readonly T[]) => Promise<void>;
  /** The one item Postgres will never take, or that was still unwritten when the process had to stop. */
  readonly refused: (item: T, error: unknown) => void;
  /** Takes over items that others must not wait for; absent: they are tried again like any other. */
  readonly putAside?: (items: readonly T[]) => void;
  readonly signal: AbortSignal;
  readonly log: AwayLog;
}

/** So often an error that Postgres answers may be of the moment; after that it is taken for one of the batch. */
const ANSWERED_ATTEMPTS = 3;

/**
 * Writes a batch until it stands, or until nothing of it is left to this call. Never rejects. By what Postgres says:
 *
 * - 22, 23 (bad data, violated constraint): the batch is halved until the bad item stands alone, which is refused;
 * - 55P03 (lock timeout), 40P01, 40001: handed to `putAside`, where there is one;
 * - away, restarting (08, 53, 57), answer lost: tried again, with growing pauses, until it stands or `signal` aborts;
 * - any other error that Postgres answered (no right, a limit, an internal error) may come from one item: tried again like
 *   that, but handed to `putAside` after a few attempts, so that the items of others do not wait for it.
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
      const isOfBatch = isContention(error) || (isAnswered(error) && attempt + 1 >= ANSWERED_ATTEMPTS);
      if (isOfBatch && task.putAside) {
        task.putAside(items);
        return;
      }
      if (!isAnswered(error)) {
        if (!isContention(error)) task.log.away(error);
      } else if (attempt + 1 === ANSWERED_ATTEMPTS) task.log.stuck(items.length, error);
      if (task.signal.aborted) {
        for (const item of items) task.refused(item, error);
        return;
      }
    }
    // An abort ends the pause: there is one more attempt.
    await pause(retryPauseMs(attempt), undefined, { signal: task.signal }).catch(() => undefined);
  }
}

/** Postgres is there and refuses, for no reason that passes by itself. */
function isAnswered(error: unknown): boolean {
  return sqlStateOf(error) !== undefined && !saysAway(error) && !isContention(error);
}

/** Says once that Postgres is away, and once that it is back, however many writes meet it. */
export class AwayLog {
  private isAway = false;

  constructor(private readonly logger: Pick<LoggerService, 'warn' | 'log'>) {}

  away(error: unknown): void {
    if (this.isAway) return;
    this.isAway = true;
    this.logger.warn(`Postgres does not take writes: ${messageOf(error)}`);
  }

  /** Said for each batch that stands alone with its error: somebody has to look at it. */
  stuck(items: number, error: unknown): void {
    const state = sqlStateOf(error) ?? '';
    this.logger.warn(`Postgres does not take ${items} rows (${state}), which are tried again: ${String(error)}`);
  }

  taken(): void {
    if (!this.isAway) return;
    this.isAway = false;
    this.logger.log('Postgres takes writes again');
  }
}
