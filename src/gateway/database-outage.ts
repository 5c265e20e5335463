import { type Logger } from '@nestjs/common';
import { DatabaseError } from 'pg';
import { QueryFailedError } from 'typeorm';
import type { Clock } from '../kernel/clock';
import { isContention, saysAway } from '../platform/database/sql-state';

const SYSTEM_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);
/** What the driver and its pool say of a connection; they give no codes. */
const DRIVER_WORDS =
  /^(Connection terminated|timeout exceeded when trying to connect|timeout expired|Query read timeout|Client (has encountered a connection error|was closed)|Cannot use a pool after calling end)/;

/** Whether a request failed because Postgres was away or busy: nothing is wrong with it, and it may come again. */
export function meetsNoDatabase(error: unknown): boolean {
  const cause: unknown = error instanceof QueryFailedError ? error.driverError : error;
  if (typeof cause !== 'object' || cause === null) return false;
  if (cause instanceof DatabaseError) return saysAway(cause) || isContention(cause);
  // By its fields: an error of Node's own core may come from another realm, where `instanceof` fails.
  const { code, message } = cause as { readonly code?: unknown; readonly message?: unknown };
  return (
    (typeof code === 'string' && SYSTEM_CODES.has(code)) || (typeof message === 'string' && DRIVER_WORDS.test(message))
  );
}

/** An outage is over when no request has met it for this long. */
const QUIET_MS = 30_000;
export const OUTAGE_LINE = 'requests are answered with 503: Postgres is away or busy';

/** Logs an outage once, however many requests meet it. */
export class DatabaseOutage {
  private lastMetMs: number | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  met(error: unknown, traceId: string): void {
    const nowMs = this.clock.monotonicMs();
    const isKnown = this.lastMetMs !== undefined && nowMs - this.lastMetMs <= QUIET_MS;
    this.lastMetMs = nowMs;
    if (!isKnown) this.logger.warn({ err: error, traceId }, OUTAGE_LINE);
  }
}
