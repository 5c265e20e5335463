import { Inject, Injectable } from '@nestjs/common';
import { CLOCK, type Clock } from '../kernel/clock';
import { type Refusal, refuse } from '../kernel/errors';
import { type RoutableUpstream, UpstreamDirectory } from '../upstreams/upstream-directory';
import { type AttemptOutcome, MAX_ATTEMPTS } from './attempt-policy';
import { CoolDowns } from './cool-downs';
import { RANDOM_SOURCE, type RandomSource } from './random-source';
import { weightedOrder } from './weighted-order';

type Plan = readonly RoutableUpstream[] | Refusal;

/** Which upstreams a call tries, in which order, from what their last calls told. */
@Injectable()
export class Router {
  private readonly coolDowns: CoolDowns;

  constructor(
    private readonly directory: UpstreamDirectory,
    @Inject(RANDOM_SOURCE) private readonly random: RandomSource,
    @Inject(CLOCK) clock: Clock,
  ) {
    this.coolDowns = new CoolDowns(clock);
  }

  /**
   * At most MAX_ATTEMPTS upstreams in the order of attempts, never empty: priority tiers, weighted choice within a tier.
   * Those that cool down are left out unless all do; then those that end first come first. A promise where the directory
   * must read first (it rejects where Postgres does not answer).
   */
  plan(model: string): Plan | Promise<Plan> {
    const candidates = this.directory.candidatesOf(model);
    return candidates instanceof Promise
      ? candidates.then((found) => this.order(model, found))
      : this.order(model, candidates);
  }

  /** To be told of every attempt that was made, once; not of those the gateway itself broke off. */
  report(upstreamId: string, outcome: AttemptOutcome): void {
    this.coolDowns.report(upstreamId, outcome);
  }

  private order(model: string, candidates: readonly RoutableUpstream[] | undefined): Plan {
    if (!candidates) return refuse('MODEL_NOT_FOUND', { param: 'model', values: { model } });
    if (candidates.length === 0) return refuse('NO_UPSTREAM_AVAILABLE', { values: { model } });
    if (candidates.length === 1) return candidates;
    if (this.coolDowns.isQuiet) return weightedOrder(candidates, this.random, MAX_ATTEMPTS);
    const ready = candidates.filter(({ target }) => !this.coolDowns.isCooling(target.upstreamId));
    if (ready.length > 0) return weightedOrder(ready, this.random, MAX_ATTEMPTS);
    const endOf = ({ target }: RoutableUpstream): number => this.coolDowns.endOf(target.upstreamId);
    return [...candidates].sort((a, b) => endOf(a) - endOf(b)).slice(0, MAX_ATTEMPTS);
  }
}
