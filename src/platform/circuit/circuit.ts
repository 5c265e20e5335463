import { Logger } from '@nestjs/common';
import {
  BrokenCircuitError,
  circuitBreaker,
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  handleWhen,
} from 'cockatiel';

export interface CircuitOptions {
  /** What is behind it, for the log. */
  readonly name: string;
  /** So many failures in a row open it. */
  readonly failures: number;
  /** How long it stays open before one call may try. */
  readonly openMs: number;
  /** What counts as a failure of what is behind it; any other error is an answer. */
  readonly isFailure: (error: unknown) => boolean;
}

/** Nothing was tried: what is behind the circuit has failed too often in a row. */
export class CircuitOpenError extends Error {
  override readonly name = 'CircuitOpenError';
}

/**
 * Keeps calls from waiting for something that is known to be away.
 *
 *   closed ── `failures` in a row ──► open ── `openMs` later, with the next call ──► half-open: that call tries alone
 *   half-open ── it succeeds ──► closed        half-open ── it fails ──► open
 *
 * A change of state is logged once. Calls that meet a half-open circuit are not kept waiting for the one that tries.
 */
export class Circuit {
  private readonly logger = new Logger(Circuit.name);
  private policy: CircuitBreakerPolicy;
  private openedAtMs = 0;

  constructor(private readonly options: CircuitOptions) {
    this.policy = this.newPolicy();
  }

  /** 0 closed, 1 half-open, 2 open: as the metric shows it. */
  get level(): 0 | 1 | 2 {
    const { state } = this.policy;
    return state === CircuitState.Closed ? 0 : state === CircuitState.HalfOpen ? 1 : 2;
  }

  /** Whether work that came now would be tried. */
  get takesWork(): boolean {
    if (this.level === 2) return Date.now() - this.openedAtMs >= this.options.openMs;
    return this.level === 0;
  }

  /** Throws CircuitOpenError where the work was not tried. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.policy.state === CircuitState.HalfOpen) throw this.notTried();
    try {
      return await this.policy.execute(work);
    } catch (error) {
      throw error instanceof BrokenCircuitError ? this.notTried() : error;
    }
  }

  /** Closed, with nothing counted: what is behind it is another one now. */
  reset(): void {
    this.policy = this.newPolicy();
  }

  private notTried(): CircuitOpenError {
    return new CircuitOpenError(`${this.options.name} has failed too often in a row`);
  }

  private newPolicy(): CircuitBreakerPolicy {
    const { name, failures, openMs, isFailure } = this.options;
    const policy = circuitBreaker(handleWhen(isFailure), {
      halfOpenAfter: openMs,
      breaker: new ConsecutiveBreaker(failures),
    });
    policy.onStateChange((state) => {
      if (policy !== this.policy) return;
      if (state === CircuitState.Open) {
        // By the clock that the policy goes by.
        this.openedAtMs = Date.now();
        this.logger.warn(`${name} is not asked for ${openMs} ms: it keeps failing`);
      }
      if (state === CircuitState.Closed) this.logger.log(`${name} is asked again`);
    });
    return policy;
  }
}
