import type { AttemptOutcome } from './attempt-policy';
import type { UpstreamState } from './upstream-state';
import type { UpstreamStates } from './upstream-states';

/** One attempt's place at an upstream: it counts as under way from Router.take until it is left, once, however it ends. */
export class Seat {
  private isLeft = false;
  private hasBegun = false;

  constructor(
    private readonly states: UpstreamStates,
    private readonly state: UpstreamState,
    /** The call by which an upstream that failed too often is tried. */
    private readonly isTrial: boolean,
    private readonly takenAtMs: number,
  ) {}

  /** The first byte of an answer came, by the monotonic clock. Told again it is the same byte. */
  began(firstByteAtMs: number): void {
    if (this.isLeft || this.hasBegun) return;
    this.hasBegun = true;
    this.states.began(this.state, this.isTrial, firstByteAtMs - this.takenAtMs);
  }

  /** The attempt is over. Without an outcome it says nothing of the upstream: the gateway itself broke it off. */
  leave(outcome?: AttemptOutcome): void {
    if (this.isLeft) return;
    this.isLeft = true;
    this.state.inFlight -= 1;
    const isTrial = this.isTrial && !this.hasBegun;
    if (outcome) this.states.ended(this.state, outcome, isTrial);
    else if (isTrial) this.state.breaker.abandonTrial();
  }
}
