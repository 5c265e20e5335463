import { sqlStateOf } from '../database/sql-state';

/** What of an error is written. */
export interface DescribedError {
  readonly type: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string | number;
  readonly cause?: DescribedError;
}

const MAX_CAUSES = 5;
/** Values that Postgres could not read stand quoted at the end of what it says (SQLSTATE 22). */
const QUOTED = /"[\s\S]*"/g;

/**
 * pino's serializer of errors. The libraries hang what they worked on upon their errors: TypeORM the query and its
 * parameters, pg the row in `detail` and `where`. Only what is named here is ever written, of each cause as well.
 */
export function describeError(error: unknown): unknown {
  return isErrorLike(error) ? describe(rawOf(error), 0) : error;
}

interface ErrorLike {
  readonly message: string;
  readonly name?: unknown;
  readonly stack?: unknown;
  readonly code?: unknown;
  readonly cause?: unknown;
}

/** By its fields: an error of Node's own core may come from another realm, where `instanceof` fails. */
function isErrorLike(value: unknown): value is ErrorLike {
  return typeof value === 'object' && value !== null && 'message' in value && typeof value.message === 'string';
}

/** pino-http hands over what its own serializer made of the error; that keeps the error itself. */
function rawOf(error: ErrorLike): ErrorLike {
  return 'raw' in error && isErrorLike(error.raw) ? error.raw : error;
}

function describe(error: ErrorLike, depth: number): DescribedError {
  const { message, name, stack, code, cause } = error;
  const shown = sqlStateOf(error)?.startsWith('22') ? message.replace(QUOTED, '"[redacted]"') : message;
  return {
    type: error instanceof Error && name === 'Error' ? error.constructor.name : nameOf(name),
    message: shown,
    ...(typeof stack === 'string' ? { stack: stack.replace(message, () => shown) } : {}),
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    ...(isErrorLike(cause) && depth < MAX_CAUSES ? { cause: describe(cause, depth + 1) } : {}),
  };
}

function nameOf(name: unknown): string {
  return typeof name === 'string' ? name : 'Error';
}
