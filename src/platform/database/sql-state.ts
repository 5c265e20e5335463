import { DatabaseError } from 'pg';
import { QueryFailedError } from 'typeorm';

/** SQLSTATE of an error that Postgres itself reported; undefined for everything else, such as a broken connection. */
export function sqlStateOf(error: unknown): string | undefined {
  const cause: unknown = error instanceof QueryFailedError ? error.driverError : error;
  return cause instanceof DatabaseError ? cause.code : undefined;
}

export const SQL_STATE = {
  serializationFailure: '40001',
  deadlockDetected: '40P01',
  lockNotAvailable: '55P03',
  uniqueViolation: '23505',
  foreignKeyViolation: '23503',
  checkViolation: '23514',
  duplicateObject: '42710',
  insufficientPrivilege: '42501',
  invalidParameterValue: '22023',
  cannotConnectNow: '57P03',
  internalError: 'XX000',
  readOnlyTransaction: '25006',
} as const;

const CONTENTION: ReadonlySet<string> = new Set([
  SQL_STATE.serializationFailure,
  SQL_STATE.deadlockDetected,
  SQL_STATE.lockNotAvailable,
]);
/** Connection exceptions, too few resources, operator intervention (also a statement that took too long). */
const AWAY_CLASSES: ReadonlySet<string> = new Set(['08', '53', '57']);

/** Postgres will never take this data: SQLSTATE 22 (it cannot be read), 23 (it violates a constraint). */
export function isRefusedData(error: unknown): boolean {
  return /^2[23]/.test(sqlStateOf(error) ?? '');
}

/** Others stood in the way: a fresh transaction may not meet them. */
export function isContention(error: unknown): boolean {
  return CONTENTION.has(sqlStateOf(error) ?? '');
}

/** Postgres said that it cannot serve anybody now: also one that is only read, in a failover. A connection that broke says nothing: it has no SQLSTATE. */
export function saysAway(error: unknown): boolean {
  const state = sqlStateOf(error) ?? '';
  return AWAY_CLASSES.has(state.slice(0, 2)) || state === SQL_STATE.readOnlyTransaction;
}
