import { ZERO_NANO_USD } from '../../src/kernel/money';
import type { Settings } from '../../src/platform/config/settings';
import { Metrics } from '../../src/platform/metrics/metrics';
import type { AttemptOutcome } from '../../src/routing/attempt-policy';
import type { RandomSource } from '../../src/routing/random-source';
import { Router } from '../../src/routing/router';
import type { Seat } from '../../src/routing/seat';
import type { UpstreamNews, UpstreamNewsListener } from '../../src/routing/upstream-news';
import type { UpstreamState } from '../../src/routing/upstream-state';
import { UpstreamStates } from '../../src/routing/upstream-states';
import type { RoutableUpstream, UpstreamDirectory } from '../../src/upstreams/upstream-directory';
import type { UpstreamFailureKind } from '../../src/upstreams/upstream.port';
import { testSettings } from './test-settings';
import { HandClock } from './upstream-harness';

type Known = readonly RoutableUpstream[] | undefined;

export function routable(id: string, weight = 1, priority = 0): RoutableUpstream {
  return {
    target: {
      upstreamId: id,
      upstreamName: id,
      providerId: id,
      providerName: id,
      baseUrl: 'https://llm.example/v1',
      apiKey: 'k',
      upstreamModel: 'm',
      deadlines: { firstByteMs: 1, idleMs: 1, totalMs: 1 },
    },
    kind: 'openai',
    dialects: ['openai-chat'],
    priority,
    weight,
    maxConcurrency: null,
    region: null,
    costInputNanoUsdPerMtok: ZERO_NANO_USD,
    costOutputNanoUsdPerMtok: ZERO_NANO_USD,
    costCachedInputNanoUsdPerMtok: ZERO_NANO_USD,
    costCacheWriteNanoUsdPerMtok: ZERO_NANO_USD,
  };
}

export const failed = (failure: UpstreamFailureKind = 'connect'): AttemptOutcome => ({ kind: 'failure', failure });
export const status = (value: number, retryAfterMs?: number): AttemptOutcome => ({
  kind: 'status',
  status: value,
  retryAfterMs,
});

/** A router on a clock that is moved by hand, over upstreams that are named here, in a deployment of its own telling. */
export class RoutingStage {
  readonly clock = new HandClock();
  readonly metrics = new Metrics();
  readonly known: Record<string, Known | Promise<Known>> = {};
  /** What this process told the others. */
  readonly told: string[] = [];
  /** Whether Redis lets this process try, in the order of questions; yes where nothing is left. */
  readonly leaves: (boolean | Promise<boolean>)[] = [];
  readonly router: Router;
  readonly states: UpstreamStates;
  /** What other processes tell. */
  others: UpstreamNewsListener | undefined;

  constructor(settings: Partial<Settings> = {}, random: RandomSource = () => 0) {
    const news: Pick<UpstreamNews, 'listen' | 'tellOpened' | 'tellClosed' | 'tellCooling' | 'askTrial'> = {
      listen: (listener) => {
        this.others = listener;
      },
      tellOpened: (id, forMs) => this.told.push(`opened ${id} ${forMs}`),
      tellClosed: (id) => this.told.push(`closed ${id}`),
      tellCooling: (id, forMs) => this.told.push(`cooling ${id} ${forMs}`),
      askTrial: (id) => {
        this.told.push(`asked ${id}`);
        return Promise.resolve(this.leaves.shift() ?? true);
      },
    };
    const all = testSettings(settings);
    const directory: Pick<UpstreamDirectory, 'candidatesOf'> = { candidatesOf: (model) => this.known[model] };
    this.states = new UpstreamStates(news as UpstreamNews, this.metrics, all, this.clock);
    this.router = new Router(directory as UpstreamDirectory, this.states, random, all, this.clock);
  }

  /** Of the model `m`. */
  upstream(id: string): RoutableUpstream {
    const known = this.known.m;
    const found = known instanceof Promise ? undefined : known?.find(({ target }) => target.upstreamId === id);
    return found ?? routable(id);
  }

  stateOf(id: string): UpstreamState {
    return this.states.of(this.upstream(id));
  }

  take(id: string): Seat {
    const seat = this.router.take(this.upstream(id));
    if (!seat) throw new Error(`no seat at ${id}`);
    return seat;
  }

  /** A call that ends so, also one that was under way before the upstream was left alone. */
  report(id: string, outcome: AttemptOutcome): void {
    this.states.ended(this.stateOf(id), outcome, false);
  }

  /** Ids in the order of attempts, or the code and the wait of a refusal. */
  plan(model = 'm'): string[] {
    const planned = this.router.plan(model);
    if (planned instanceof Promise) throw new Error('expected no promise');
    if ('code' in planned) return [planned.code, String(planned.retryAfterMs)];
    return planned.map(({ target }) => target.upstreamId);
  }

  /** How long the upstream stays out of the plan, to the millisecond. */
  coolDownOf(id: string): number {
    const startedMs = this.clock.ms;
    while (!this.plan().includes(id)) this.clock.ms += 1;
    return this.clock.ms - startedMs;
  }
}
