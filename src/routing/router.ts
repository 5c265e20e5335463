import { Inject, Injectable } from '@nestjs/common';
import { CLOCK, type Clock } from '../kernel/clock';
import { type Refusal, refuse } from '../kernel/errors';
import { Settings } from '../platform/config/settings';
import { type RoutableUpstream, UpstreamDirectory } from '../upstreams/upstream-directory';
import { MAX_ATTEMPTS } from './attempt-policy';
import { RANDOM_SOURCE, type RandomSource } from './random-source';
import { RetryBudget } from './retry-budget';
import { Seat } from './seat';
import { UpstreamStates } from './upstream-states';
import { type Draw, weightedOrder } from './weighted-order';

type Plan = readonly RoutableUpstream[] | Refusal;

/** A plan holds more than may be attempted: who drops out of it, or is wanted by a session, is to be found in it. */
const MAX_PLANNED = 16;
/** When a place may be free again where every one is taken, or whoever tries an upstream has an answer. */
const LOOK_AGAIN_MS = 1_000;
/** A call that nobody else can serve waits so long for leave to try an upstream that is due. */
const TRIAL_WAIT_MS = 50;

/** Which upstreams a call tries, in which order, from what their last calls told. */
@Injectable()
export class Router {
  /** How many failed attempts this process may try again elsewhere. */
  readonly retries: RetryBudget;
  private readonly draw: Draw<RoutableUpstream>;

  constructor(
    private readonly directory: UpstreamDirectory,
    private readonly states: UpstreamStates,
    @Inject(RANDOM_SOURCE) random: RandomSource,
    settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {
    this.retries = new RetryBudget(settings.upstreamRetryPercent, clock);
    const weightOf = (upstream: RoutableUpstream): number => upstream.weight * states.of(upstream).score.factor;
    this.draw = {
      random,
      priorityOf: ({ priority }) => priority,
      weightOf,
      loadOf: (upstream) => {
        const { inFlight } = states.of(upstream);
        return inFlight === 0 ? 0 : inFlight / (weightOf(upstream) || 1);
      },
    };
  }

  /** The model that a client's name means: itself unless it is an alias. A promise where the directory must read first. */
  modelOf(asked: string): string | Promise<string> {
    return this.directory.modelOf(asked);
  }

  /** Which models stand in for one (or for the one that an alias names), in the order in which they are to be asked. */
  fallbacksOf(asked: string): readonly string[] {
    return this.directory.fallbacksOf(asked);
  }

  /**
   * Upstreams in the order of attempts, never empty and at most MAX_PLANNED: the first MAX_ATTEMPTS by priority tiers,
   * within a tier a draw by weight times health, of two drawn the less busy one; the rest as they come. Left out are those that are full, open, or asked to be left alone; those
   * that cool down by our own choice only where others are left. A refusal says when one may be there again. A promise
   * where the directory must read first (it rejects where Postgres does not answer), or where all that is left waits for
   * leave to be tried.
   * @param region upstreams of this tag alone
   */
  plan(model: string, region?: string): Plan | Promise<Plan> {
    const candidates = this.directory.candidatesOf(model);
    return candidates instanceof Promise
      ? candidates.then((found) => this.planAmong(model, found, region))
      : this.planAmong(model, candidates, region);
  }

  /**
   * A place at an upstream of the plan, for one attempt, to be left once it is over. Undefined where it may not be called
   * any more: since it was planned it became full, open, or asked to be left alone.
   */
  take(upstream: RoutableUpstream): Seat | undefined {
    const state = this.states.of(upstream);
    const readiness = state.readinessFor(upstream);
    if (readiness !== 'ready' && readiness !== 'cooling' && readiness !== 'trial') return undefined;
    const isTrial = readiness === 'trial';
    if (isTrial) state.breaker.beginTrial();
    state.inFlight += 1;
    state.lastUsedMs = this.clock.monotonicMs();
    return new Seat(this.states, state, isTrial, state.lastUsedMs);
  }

  private planAmong(
    model: string,
    known: readonly RoutableUpstream[] | undefined,
    region: string | undefined,
  ): Plan | Promise<Plan> {
    if (!known) return refuse('MODEL_NOT_FOUND', { param: 'model', values: { model } });
    const candidates = region === undefined ? known : known.filter((upstream) => upstream.region === region);
    const named = region === undefined ? { model } : { model, region };
    if (candidates.length === 0) return refuse('NO_UPSTREAM_AVAILABLE', { values: named });
    for (const candidate of candidates) {
      if (this.states.of(candidate).readinessFor(candidate) !== 'ready') return this.select(candidates, named);
    }
    return this.order(candidates);
  }

  private order(ready: readonly RoutableUpstream[]): readonly RoutableUpstream[] {
    if (ready.length === 1) return ready;
    const order = weightedOrder(ready, this.draw, MAX_ATTEMPTS);
    if (ready.length === order.length) return order;
    const [first, second, third] = order;
    for (const upstream of ready) {
      if (order.length === MAX_PLANNED) break;
      if (upstream !== first && upstream !== second && upstream !== third) order.push(upstream);
    }
    return order;
  }

  /** Where something speaks against one of them at least. */
  private select(
    candidates: readonly RoutableUpstream[],
    named: Readonly<Record<string, string>>,
    mayWait = true,
  ): Plan | Promise<Plan> {
    const sorted = this.sort(candidates);
    const { trial, ready, cooling, asking } = sorted;
    const [first] = ready;
    // In the place of its priority: a spare one is not tried while those before it serve.
    if (trial && !(first && first.priority < trial.priority))
      return [trial, ...this.order(ready)].slice(0, MAX_PLANNED);
    if (first) return this.order(ready);
    if (cooling.length > 0) {
      const endOf = (upstream: RoutableUpstream): number => this.states.of(upstream).coolDown.endMs;
      return cooling.sort((a, b) => endOf(a) - endOf(b)).slice(0, MAX_PLANNED);
    }
    if (mayWait && asking.length > 0)
      return within(TRIAL_WAIT_MS, asking).then(() => this.select(candidates, named, false));
    const retryAfterMs = Math.max(1, Math.ceil(sorted.nextMs - this.clock.monotonicMs()));
    return refuse('NO_UPSTREAM_AVAILABLE', { values: named, retryAfterMs });
  }

  private sort(candidates: readonly RoutableUpstream[]): Sorted {
    const now = this.clock.monotonicMs();
    const sorted: Sorted = { trial: undefined, ready: [], cooling: [], asking: [], nextMs: Infinity };
    for (const candidate of candidates) {
      const state = this.states.of(candidate);
      const readiness = state.readinessFor(candidate);
      if (readiness === 'ready') sorted.ready.push(candidate);
      else if (readiness === 'cooling') sorted.cooling.push(candidate);
      else if (readiness === 'trial') sorted.trial ??= candidate;
      else sorted.nextMs = Math.min(sorted.nextMs, Math.max(state.endMs, now + LOOK_AGAIN_MS));
      if (readiness === 'due') {
        const asking = this.states.askTrial(state);
        if (asking) sorted.asking.push(asking);
      }
    }
    return sorted;
  }
}

interface Sorted {
  /** The first of its kind: candidates come sorted by priority. */
  trial: RoutableUpstream | undefined;
  readonly ready: RoutableUpstream[];
  readonly cooling: RoutableUpstream[];
  /** Leave to try that is being asked for. */
  readonly asking: Promise<void>[];
  /** When the soonest of the others may be there again, on the monotonic clock. */
  nextMs: number;
}

async function within(limitMs: number, awaited: readonly Promise<void>[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  await Promise.race([late, ...awaited]).finally(() => {
    clearTimeout(timer);
  });
}
