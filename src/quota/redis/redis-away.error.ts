import { QuotaUnavailableError } from '../quota-store.port';

/** Redis itself cannot be used or did not answer; where it goes on, Postgres has to decide. */
export class RedisAwayError extends QuotaUnavailableError {}
