import type { Clock } from '../../kernel/clock';
import { BEGINS_WITHIN_MS, type RedisServer } from '../../platform/redis/redis-connection';

/** How long the server's clock is believed to go with ours. */
const CLOCK_KNOWN_MS = 60_000;

interface ServerClock {
  readonly of: RedisServer | undefined;
  readonly aheadMs: number;
  readonly learnedAtMs: number;
}

/**
 * Until when the server may begin a reservation that is sent now, by its own clock: after that this caller has given it
 * up and released whatever it may have held. Each connection learns the server's clock from its first LATE, and again
 * once it has forgotten it: LATE corrects only a clock that runs ahead, never one that was set back.
 */
export class ServerDeadline {
  private known: ServerClock | undefined;

  constructor(private readonly clock: Clock) {}

  /** Milliseconds of the server's clock. */
  notAfterMs(server: RedisServer | undefined): number {
    const nowMs = this.clock.monotonicMs();
    const { known } = this;
    const isFresh = known !== undefined && known.of === server && nowMs - known.learnedAtMs < CLOCK_KNOWN_MS;
    return nowMs + (isFresh ? known.aheadMs : 0) + BEGINS_WITHIN_MS;
  }

  learn(server: RedisServer | undefined, serverNowMs: number): void {
    const learnedAtMs = this.clock.monotonicMs();
    this.known = { of: server, aheadMs: serverNowMs - learnedAtMs, learnedAtMs };
  }
}
