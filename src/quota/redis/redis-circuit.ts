import { Inject, Injectable, Logger } from '@nestjs/common';
import { CLOCK, type Clock } from '../../kernel/clock';
import { messageOf } from '../../kernel/error-message';
import { Circuit, CircuitOpenError } from '../../platform/circuit/circuit';
import { Settings } from '../../platform/config/settings';
import { Metrics } from '../../platform/metrics/metrics';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { EpochAuthority } from '../epoch-authority';
import { RedisAwayError } from './redis-away.error';

/** Between two attempts to let Postgres decide: where it cannot, it is away itself. */
const PROPOSE_AGAIN_MS = 1_000;

/**
 * Around what is asked of Redis while it decides. Once it is open, its process proposes that Postgres decides: whoever is
 * cut off alone switches everybody, because two deciders at once is how money is lost. A process whose server was demoted
 * is not cut off: another one decides, and it has to be led there.
 */
@Injectable()
export class RedisCircuit {
  private readonly logger = new Logger(RedisCircuit.name);
  private readonly circuit: Circuit;
  /** The epoch whose server the circuit is about. */
  private epoch = 0n;
  private proposing: Promise<boolean> | undefined;
  private triedAtMs = -Infinity;

  constructor(
    private readonly epochs: EpochAuthority,
    private readonly connection: RedisConnection,
    private readonly settings: Settings,
    metrics: Metrics,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {
    this.circuit = new Circuit({
      name: 'Redis',
      failures: settings.billingCircuitFailures,
      openMs: settings.billingCircuitOpenMs,
      isFailure: (error) => error instanceof RedisAwayError && !epochs.isDemoted,
    });
    metrics.beforeScrape(() => {
      metrics.circuitLevel.of('redis').set(this.circuit.level);
      metrics.quotaMode.set(epochs.lastMode === 'postgres' ? 1 : 0);
    });
  }

  /** Open for good where there is no Redis; one that is being tried again is not. */
  get isOpen(): boolean {
    return this.connection.isNone || this.circuit.level === 2;
  }

  /** Throws CircuitOpenError where the work was not tried. */
  run<T>(work: () => Promise<T>): Promise<T> {
    if (this.connection.isNone) return Promise.reject(new CircuitOpenError('there is no Redis'));
    if (this.epoch !== this.epochs.current) {
      this.epoch = this.epochs.current;
      this.circuit.reset();
    }
    return this.circuit.run(work);
  }

  /** Whether Postgres decides now. False also where it does not say so within the time that a call waits. */
  async proposePostgres(): Promise<boolean> {
    if (!this.proposing && this.clock.monotonicMs() - this.triedAtMs < PROPOSE_AGAIN_MS) return false;
    this.proposing ??= this.propose().finally(() => (this.proposing = undefined));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, this.settings.billingWaitMs, false);
    });
    return Promise.race([this.proposing, late]).finally(() => {
      clearTimeout(timer);
    });
  }

  private async propose(): Promise<boolean> {
    try {
      await this.epochs.switchToPostgres(
        this.connection.isNone ? 'a process has no Redis (REDIS_URL=none)' : 'Redis keeps failing for a process',
      );
      return true;
    } catch (error) {
      this.triedAtMs = this.clock.monotonicMs();
      this.logger.warn(`neither Redis nor Postgres can decide over quota: ${messageOf(error)}`);
      return false;
    }
  }
}
