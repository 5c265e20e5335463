import { setTimeout as pause } from 'node:timers/promises';
import type { Pool } from 'pg';
import { Singleflight } from '../../kernel/singleflight';
import { QuotaUnavailableError } from '../quota-store.port';
import type { CallerLimits } from '../scopes/caller-limits';
import { openCounters } from '../warm-up/counter-seeds';

/** Counters of the tenant's request quotas. */
const REQUEST_QUOTAS: readonly string[] = ['day', 'month'];

export function requestQuotasOf(counters: readonly string[]): readonly string[] {
  return counters.filter((counter) => REQUEST_QUOTAS.includes(counter));
}

/**
 * Opens the request quotas of a tenant that have not counted yet. They look back to the start of their window, which is
 * as much work as the tenant has had calls: it is done under no lock, once a process and tenant however many calls of
 * however many keys ask, and goes on when they have gone.
 *
 * No hold counts in a quota that has no row, so none is counted twice; for two processes at once the first row stands.
 */
export class FirstCounts {
  private readonly flights = new Singleflight<undefined>();

  constructor(private readonly pool: Pool) {}

  /**
   * Resolves when they stand. Throws QuotaUnavailableError where that cannot be had within `patienceMs`.
   *
   * @param quotas of the tenant's request quotas, those to open
   * @param nowMs by the clock that picks the windows
   */
  async open(limits: CallerLimits, quotas: readonly string[], nowMs: number, patienceMs: number): Promise<void> {
    const gaveUp = new AbortController();
    try {
      await Promise.race([
        this.flights.run(`${limits.tenantId} ${quotas.join()}`, () => this.look(limits, quotas, nowMs)),
        pause(patienceMs, undefined, { signal: gaveUp.signal }).then(() => {
          throw new Error('the look back takes longer than a call waits');
        }),
      ]);
    } catch (error) {
      throw new QuotaUnavailableError('the request quotas could not be opened', { cause: error });
    } finally {
      gaveUp.abort();
    }
  }

  private async look(limits: CallerLimits, quotas: readonly string[], nowMs: number): Promise<undefined> {
    await openCounters(this.pool, limits, quotas, nowMs);
    return undefined;
  }
}
