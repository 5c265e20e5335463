import { type BeforeApplicationShutdown, Inject, Injectable, Logger } from '@nestjs/common';
import { CLOCK, type Clock } from '../../kernel/clock';
import { newId } from '../../kernel/ids';
import { Settings } from '../../platform/config/settings';
import { Metrics } from '../../platform/metrics/metrics';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { ScriptRegistry, type ScriptReply } from '../../platform/redis/script-registry';
import type { RoutableUpstream } from '../../upstreams/upstream-directory';
import { affinityKey, type AffinitySession } from './affinity-key';
import { type AffinityEvent, assertTransition } from './affinity-machine';

/** How long a session stands without a success. */
const SESSION_TTL_S = 3_600;
/** How long a failure is remembered. */
const FAILED_TTL_S = 60;
/** After so many choices in a row that failed, none is asked for so long: calls must not wait for a Redis in trouble one by one. */
const FAILURES_TO_PAUSE = 3;
const PAUSE_MS = 1_000;
/** Reports under way; what comes beyond is dropped: it is a hint, not money. */
const MAX_REPORTS = 1_000;

/** By which word of the session a call goes; its end is reported with it. */
export interface AffinityChoice {
  readonly session: AffinitySession;
  readonly upstreamId: string;
  readonly choiceId: string;
}

/** How a call ended, as far as its session is concerned. */
export type AffinityEnd =
  { readonly kind: 'answered'; readonly upstreamId: string } | { readonly kind: 'failed'; readonly upstreamId: string };

export interface ChosenOrder {
  readonly candidates: readonly RoutableUpstream[];
  readonly choice: AffinityChoice | undefined;
}

/**
 * Lets the calls of a session ask the upstream first that answered the one before (affinity-machine.ts). A hint: where
 * Redis is away, slow or cannot be read, calls go in their plain order and nothing is reported. RUN_MODE=simple and
 * REDIS_URL=none know no affinity.
 */
@Injectable()
export class Affinity implements BeforeApplicationShutdown {
  private readonly logger = new Logger(Affinity.name);
  private readonly isOff: boolean;
  private readonly reports = new Set<Promise<void>>();
  private isFailing = false;
  private failuresInARow = 0;
  /** On the monotonic clock. */
  private pausedUntilMs = -Infinity;

  constructor(
    private readonly connection: RedisConnection,
    private readonly scripts: ScriptRegistry,
    private readonly metrics: Metrics,
    private readonly settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {
    this.isOff = connection.isNone || settings.runMode === 'simple';
    if (!this.isOff) for (const event of ['choose', 'confirm', 'fail']) scripts.bind(`affinity_${event}`);
  }

  /**
   * The candidates, all of which may be asked now, with the session's own first. To be asked also where only one of a model's
   * upstreams may be asked: then it becomes the session's. At once, and as they came, where there is no affinity. Never rejects.
   */
  choose(session: AffinitySession, candidates: readonly RoutableUpstream[]): ChosenOrder | Promise<ChosenOrder> {
    const plain: ChosenOrder = { candidates, choice: undefined };
    if (this.isOff || candidates.length === 0) return plain;
    if (!this.connection.isReady || this.clock.monotonicMs() < this.pausedUntilMs) {
      this.count('unavailable');
      return plain;
    }
    return this.named(session, candidates).catch((error: unknown) => {
      this.failuresInARow += 1;
      if (this.failuresInARow >= FAILURES_TO_PAUSE) this.pausedUntilMs = this.clock.monotonicMs() + PAUSE_MS;
      this.failed(error);
      return plain;
    });
  }

  /** To be told once how a call ended that went by a choice. Returns at once. */
  report(choice: AffinityChoice, end: AffinityEnd): void {
    if (this.reports.size >= MAX_REPORTS) {
      this.count('dropped');
      return;
    }
    const told = (end.kind === 'answered' ? this.confirm(choice, end.upstreamId) : this.fail(choice, end.upstreamId))
      .catch((error: unknown) => {
        this.failed(error);
      })
      .finally(() => this.reports.delete(told));
    this.reports.add(told);
  }

  /** Waits for the reports under way, which end or time out with their commands. */
  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.reports);
  }

  private async named(session: AffinitySession, candidates: readonly RoutableUpstream[]): Promise<ChosenOrder> {
    const ids = candidates.map(({ target }) => target.upstreamId);
    const own = newId();
    const asked = this.run('choose', session, [own, String(SESSION_TTL_S), ...ids]);
    const [, , upstreamId, choiceId] = await inTime(asked, this.settings.affinityWaitMs);
    const first = candidates.find(({ target }) => target.upstreamId === upstreamId);
    if (!first || choiceId === undefined) throw new Error('affinity: the session has an upstream that was not offered');
    this.count(choiceId === own ? 'chosen' : 'followed');
    this.isFailing = false;
    this.failuresInARow = 0;
    const others = candidates.filter((candidate) => candidate !== first);
    const choice = { session, upstreamId: first.target.upstreamId, choiceId };
    return { candidates: [first, ...others], choice };
  }

  private async confirm({ session, choiceId }: AffinityChoice, upstreamId: string): Promise<void> {
    const [, after, upstream] = await this.run('confirm', session, [
      ...[upstreamId, choiceId],
      ...[newId(), String(SESSION_TTL_S)],
    ]);
    this.count(after === 'active' && upstream === upstreamId ? 'confirmed' : 'overtaken');
  }

  private async fail({ session, choiceId }: AffinityChoice, upstreamId: string): Promise<void> {
    const [before, after] = await this.run('fail', session, [upstreamId, choiceId, String(FAILED_TTL_S)]);
    this.count(after === 'failed' && before !== 'failed' ? 'failed' : 'overtaken');
  }

  private async run(
    event: AffinityEvent,
    session: AffinitySession,
    args: readonly string[],
  ): Promise<readonly string[]> {
    if (!this.connection.isReady) throw new Error(this.connection.whyNotReady);
    const reply: ScriptReply = await this.scripts.bind(`affinity_${event}`)(1, affinityKey(session), ...args);
    if (typeof reply === 'number') throw new Error(`affinity: ${event} was answered with a number`);
    assertTransition(event, reply[0], reply[1]);
    return reply;
  }

  /** Once until it works again: an outage must not write a line for each call. */
  private failed(error: unknown): void {
    this.count('unavailable');
    if (!this.isFailing) this.logger.warn({ msg: 'sessions are not kept at their upstreams', err: error });
    this.isFailing = true;
  }

  private count(outcome: string): void {
    this.metrics.affinity.of(outcome).inc();
  }
}

/** What comes too late is heard by nobody: the call has gone in its plain order. */
function inTime<T>(answer: Promise<T>, withinMs: number): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const timer = setTimeout(() => {
    // After a stall of our own event loop the answer may lie unread in the socket: let it be read first.
    setImmediate(() => {
      reject(new Error(`affinity: no answer within ${withinMs} ms`));
    });
  }, withinMs);
  answer.then(resolve, reject).finally(() => {
    clearTimeout(timer);
  });
  return promise;
}
