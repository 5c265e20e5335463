import { Inject, Injectable } from '@nestjs/common';
import type { Pool } from 'pg';
import { CLOCK, type Clock } from '../../kernel/clock';
import { nanoUsd, toDecimalUsd, ZERO_NANO_USD } from '../../kernel/money';
import { calendarWindow, type CalendarWindow } from '../../kernel/windows';
import { Settings } from '../../platform/config/settings';
import { PG_POOL } from '../../platform/database/pg-pool';
import { type CallerLimits, NO_LIMITS, type Service } from '../../quota/scopes/caller-limits';
import { countOpenHolds, type CounterUse, readCounters } from '../../quota/scopes/counter-reader';
import type { Measure, ScopeSpec } from '../../quota/scopes/scope';
import { scopesOf } from '../../quota/scopes/scope-plan';
import type { CounterDto } from './counter.dto';

interface Use {
  readonly used: bigint;
  readonly window: CalendarWindow | null;
}

/** What is used of limits, as the ledger knows it; the scopes are those a reservation would meet. */
@Injectable()
export class CounterViews {
  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** The scopes of some of a tenant's limits, without its request quotas and whatever else is left out. */
  scopesOf(
    tenant: { readonly id: string; readonly timezone: string },
    limits: Partial<CallerLimits>,
    call: { readonly service?: Service; readonly platform?: string } = {},
  ): readonly ScopeSpec[] {
    const own = { tenantId: tenant.id, timezone: tenant.timezone, creditLimit: ZERO_NANO_USD };
    return scopesOf(
      { ...NO_LIMITS, ...own, ...limits },
      { service: 'chat', platform: '', globalZone: this.settings.defaultTimezone, ...call },
    );
  }

  /** In the order of the scopes. */
  async of(tenantId: string, scopes: readonly ScopeSpec[]): Promise<readonly Readonly<CounterDto>[]> {
    const stored = scopes.filter(({ window: { kind } }) => kind !== 'rolling' && kind !== 'open');
    const [uses, open] = await Promise.all([
      readCounters(
        this.pool,
        tenantId,
        stored.map(({ counter }) => counter),
      ),
      scopes.some(({ window }) => window.kind === 'open') ? countOpenHolds(this.pool, tenantId) : 0n,
    ]);
    const nowMs = this.clock.nowMs();
    return scopes.map((scope) => render(scope, useOf(scope, uses.get(scope.counter), open, nowMs)));
  }
}

/** What counts now: a window that has ended has been followed by one in which nothing is used yet. */
function useOf({ window }: ScopeSpec, known: CounterUse | undefined, open: bigint, nowMs: number): Use | null {
  switch (window.kind) {
    case 'rolling':
      return null;
    case 'open':
      return { used: open, window: null };
    case 'lifetime':
      return { used: known?.used ?? 0n, window: null };
    case 'first_use':
      return known && nowMs < known.endMs ? { used: known.used, window: known } : { used: 0n, window: null };
    case 'calendar': {
      const current = calendarWindow(nowMs, window.zone, window.unit);
      return { used: known?.startMs === current.startMs ? known.used : 0n, window: current };
    }
  }
}

function render({ scope, counter, measure, limit }: ScopeSpec, use: Use | null): Readonly<CounterDto> {
  return {
    scope,
    counter,
    measure,
    limit: textOf(limit, measure),
    used: use && textOf(use.used, measure),
    remaining: use && textOf(use.used < limit ? limit - use.used : 0n, measure),
    window_start: use?.window ? new Date(use.window.startMs).toISOString() : null,
    resets_at: use?.window ? new Date(use.window.endMs).toISOString() : null,
  };
}

function textOf(amount: bigint, measure: Measure): string {
  return measure === 'usd' ? toDecimalUsd(nanoUsd(amount)) : amount.toString();
}
