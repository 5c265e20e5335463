import { Inject, Injectable } from '@nestjs/common';
import type { Pool } from 'pg';
import { PG_POOL } from '../platform/database/pg-pool';
import { EpochAuthority } from './epoch-authority';
import { QuotaUnavailableError } from './quota-store.port';

/**
 * Endings in a process whose Redis server was demoted. The current server was rebuilt while those charges were open and
 * counts them so; this process cannot reach it. What it cannot tell, a rebuild reads from the ledger: the epoch is raised,
 * once for all endings of a second. They come to an end: a demoted process admits nothing new.
 *
 * Both reject with QuotaUnavailableError where that was not possible, or where the process has meanwhile found the current
 * server and may tell it itself.
 */
@Injectable()
export class UntoldEndings {
  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly epochs: EpochAuthority,
  ) {}

  settled(): Promise<void> {
    return this.epochs.raiseForEndings().catch(unavailable);
  }

  /** A hold that never had a row, such as one of a call that was refused here, is known to no rebuild: nothing is owed. */
  async released(holdIds: readonly string[]): Promise<void> {
    const { rows } = await this.pool
      .query(`select from billing_transaction where id = any ($1) limit 1`, [holdIds])
      .catch(unavailable);
    if (rows.length > 0) await this.settled();
  }
}

function unavailable(error: unknown): never {
  throw new QuotaUnavailableError('the current Redis server could not be told', { cause: error });
}
