import { Inject, Injectable, Logger } from '@nestjs/common';
import { CLOCK, type Clock } from '../kernel/clock';
import { Settings } from '../platform/config/settings';
import { Metrics } from '../platform/metrics/metrics';
import type { RoutableUpstream } from '../upstreams/upstream-directory';
import type { AttemptOutcome } from './attempt-policy';
import type { BreakerOptions } from './breaker';
import { symptomOf } from './cool-down';
import { UpstreamNews } from './upstream-news';
import { UpstreamState } from './upstream-state';

/** Upstreams that were deleted leave their state behind: what nobody calls any more is forgotten, with each scrape, and here. */
const SWEEP_AT_SIZE = 4_096;
const FORGOTTEN_AFTER_MS = 600_000;
/** A wish to be left alone that ends later than the last one by less than this is no news. */
const TOLD_AGAIN_MS = 500;
/** Who was refused leave to try asks again. */
const ASK_AGAIN_MS = 1_000;

/** What this process knows of upstreams: by its own calls, and by what others tell of theirs. */
@Injectable()
export class UpstreamStates {
  private readonly logger = new Logger(UpstreamStates.name);
  private readonly states = new Map<string, UpstreamState>();
  private readonly breaker: BreakerOptions;

  constructor(
    private readonly news: UpstreamNews,
    private readonly metrics: Metrics,
    settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {
    this.breaker = { failures: settings.upstreamBreakerFailures, openMs: settings.upstreamBreakerOpenMs };
    metrics.beforeScrape(() => {
      this.sample();
    });
    news.listen({
      opened: (id, forMs) => {
        if (this.breaker.failures > 0) this.named(id).breaker.toldOpen(forMs);
      },
      closed: (id) => {
        const state = this.states.get(id);
        state?.breaker.toldClosed();
        state?.coolDown.recovered();
      },
      cooling: (id, forMs) => {
        this.named(id).coolDown.askedFor(forMs);
      },
    });
  }

  of({ target }: RoutableUpstream): UpstreamState {
    const state = this.states.get(target.upstreamId) ?? this.named(target.upstreamId);
    state.name = target.upstreamName;
    return state;
  }

  /** As it is seen now: of one that was never called, as it would be. */
  seen(upstreamId: string): UpstreamState {
    return this.states.get(upstreamId) ?? new UpstreamState(upstreamId, upstreamId, this.clock, this.breaker);
  }

  /** The upstream began to answer: a trial has succeeded, whatever becomes of the rest. */
  began(state: UpstreamState, isTrial: boolean, firstByteMs: number): void {
    state.score.answeredAfter(firstByteMs);
    if (isTrial) this.well(state, true);
  }

  /** How a call ended, of which routing was told. */
  ended(state: UpstreamState, outcome: AttemptOutcome, isTrial: boolean): void {
    const symptom = symptomOf(outcome);
    if (!symptom) {
      state.score.succeeded();
      state.coolDown.succeeded();
      this.well(state, isTrial);
      return;
    }
    state.score.failed();
    const askedBeforeMs = state.coolDown.askedEndMs;
    const begins = state.coolDown.failed(symptom);
    // Calls that were under way hear the same: that is told once.
    if (state.coolDown.askedEndMs > askedBeforeMs + TOLD_AGAIN_MS) {
      this.news.tellCooling(state.upstreamId, symptom.retryAfterMs);
    }
    if (outcome.kind === 'status' && (outcome.status === 401 || outcome.status === 403)) {
      this.refusedUs(state, outcome.status, begins);
    }
    // What has too much to do answers: that is no reason to open, and all that a trial asks.
    if (symptom.isSaturation) this.well(state, isTrial);
    else this.failed(state, isTrial);
  }

  /** Leave to let one call try: at once a promise for whoever has no other upstream. Bounded by Redis' own time limit. */
  askTrial(state: UpstreamState): Promise<void> | undefined {
    if (!state.asking && this.clock.monotonicMs() >= state.askAgainMs) {
      state.asking = this.news.askTrial(state.upstreamId).then((isGranted) => {
        state.asking = undefined;
        if (!isGranted) state.askAgainMs = this.clock.monotonicMs() + ASK_AGAIN_MS;
        else if (state.breaker.isDue) state.breaker.allowTrial();
      });
    }
    return state.asking;
  }

  private well(state: UpstreamState, isTrial: boolean): void {
    if (!state.breaker.succeeded(isTrial)) return;
    state.coolDown.recovered();
    this.news.tellClosed(state.upstreamId);
    this.logger.log(`upstream ${state.name} (${state.upstreamId}) answers again: it gets calls as before`);
  }

  private failed(state: UpstreamState, isTrial: boolean): void {
    const forMs = state.breaker.failed(isTrial);
    if (forMs === undefined) return;
    this.news.tellOpened(state.upstreamId, forMs);
    this.metrics.upstreamBreakerOpened.of(state.name).inc();
    this.logger.warn(`upstream ${state.name} (${state.upstreamId}) keeps failing: it gets no calls for ${forMs} ms`);
  }

  /** A person has to see to it; once for each cool-down. */
  private refusedUs(state: UpstreamState, status: number, begins: boolean): void {
    this.metrics.upstreamAuthFailures.of(state.name).inc();
    if (!begins) return;
    this.logger.error(
      `upstream ${state.name} (${state.upstreamId}) refuses our credentials (${status}): see to its key`,
    );
  }

  private named(upstreamId: string): UpstreamState {
    let state = this.states.get(upstreamId);
    if (!state) {
      if (this.states.size >= SWEEP_AT_SIZE) this.forgetOld();
      state = new UpstreamState(upstreamId, upstreamId, this.clock, this.breaker);
      this.states.set(upstreamId, state);
    }
    return state;
  }

  private forgetOld(): void {
    const sinceMs = this.clock.monotonicMs() - FORGOTTEN_AFTER_MS;
    for (const [id, state] of this.states) {
      if (!state.isIdleSince(sinceMs)) continue;
      this.states.delete(id);
      // Whoever looks at the metric must not see it open for ever.
      this.metrics.upstreamBreakerLevel.of(state.name).set(0);
    }
  }

  private sample(): void {
    this.forgetOld();
    for (const { name, breaker, inFlight } of this.states.values()) {
      this.metrics.upstreamBreakerLevel.of(name).set(breaker.level);
      this.metrics.upstreamInFlight.of(name).set(inFlight);
    }
  }
}
