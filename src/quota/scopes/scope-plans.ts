import { Injectable } from '@nestjs/common';
import { Settings } from '../../platform/config/settings';
import { TenantWindows } from '../tenant-windows';
import type { CallerLimits, Service } from './caller-limits';
import type { ScopeSpec } from './scope';
import { type ScopeArgs, scopeArgs } from './scope-args';
import { scopesOf } from './scope-plan';

/** The part of a call that its scopes follow from. */
interface Call {
  readonly limits: CallerLimits;
  readonly service: Service;
  readonly platform: string;
}

/**
 * The scopes of each caller and kind of call, worked out once: limits live in the cache of keys, and a changed limit is
 * another object.
 */
@Injectable()
export class ScopePlans {
  readonly windows = new TenantWindows();
  private readonly plans = new WeakMap<CallerLimits, Map<string, readonly ScopeSpec[]>>();

  constructor(private readonly settings: Settings) {}

  of({ limits, service, platform }: Call): readonly ScopeSpec[] {
    let byKind = this.plans.get(limits);
    if (!byKind) {
      byKind = new Map();
      this.plans.set(limits, byKind);
    }
    const kind = `${service}/${platform}`;
    let plan = byKind.get(kind);
    if (!plan) {
      plan = scopesOf(limits, { service, platform, globalZone: this.settings.defaultTimezone });
      byKind.set(kind, plan);
    }
    return plan;
  }

  /** As both stores take them; `nowMs` says around which instant calendar windows are sent. */
  args(plan: readonly ScopeSpec[], nowMs: number): readonly ScopeArgs[] {
    return plan.map((spec) => scopeArgs(spec, this.windows, nowMs));
  }
}
