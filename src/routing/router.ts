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

  /** The model that a client's name means: itself unless it is an alias. A promise where the directory must read first. */
  modelOf(asked: string): string | Promise<string> {
    return this.directory.modelOf(asked);
  }

  /** Which models stand in for one (or for the one that an alias names), in the order in which they are to be asked. */
  fallbacksOf(asked: string): readonly string[] {
    return this.directory.fallbacksOf(asked);
  }

  /**
   * At most MAX_ATTEMPTS upstreams in the order of attempts, never empty: priority tiers, weighted choice within a tier.
   * Those that cool down are left out unless all do; then those that end first come first. A promise where the directory
   * must read first (it rejects where Postgres does not answer).
   * @param region upstreams of this tag alone
   */
  plan(model: string, region?: string): Plan | Promise<Plan> {
    const candidates = this.directory.candidatesOf(model);
    return candidates instanceof Promise
      ? candidates.then((found) => this.planAmong(model, found, region))
      : this.planAmong(model, candidates, region);
  }

  /** To be told of every attempt that was made, once; not of those the gateway itself broke off. */
  report(upstreamId: string, outcome: AttemptOutcome): void {
    this.coolDowns.report(upstreamId, outcome);
  }

  private planAmong(
    model: string,
    known: readonly RoutableUpstream[] | undefined,
    region: string | undefined,
  ): Plan | Promise<Plan> {
    if (!known) return refuse('MODEL_NOT_FOUND', { param: 'model', values: { model } });
    if (region === undefined) return this.order(model, known);
    const there = known.filter((upstream) => upstream.region === region);
    if (there.length === 0) return refuse('NO_UPSTREAM_AVAILABLE', { values: { model, region } });
    return this.order(model, there);
  }

  private order(model: string, candidates: readonly RoutableUpstream[]): Plan {
    if (candidates.length === 0) return refuse('NO_UPSTREAM_AVAILABLE', { values: { model } });
    if (candidates.length === 1) return candidates;
    if (this.coolDowns.isQuiet) return weightedOrder(candidates, this.random, MAX_ATTEMPTS);
    const ready = candidates.filter(({ target }) => !this.coolDowns.isCooling(target.upstreamId));
    if (ready.length > 0) return weightedOrder(ready, this.random, MAX_ATTEMPTS);
    const endOf = ({ target }: RoutableUpstream): number => this.coolDowns.endOf(target.upstreamId);
    return [...candidates].sort((a, b) => endOf(a) - endOf(b)).slice(0, MAX_ATTEMPTS);
  }
}
