import { availableParallelism } from 'node:os';
import { extname, join } from 'node:path';
import { Inject, Injectable } from '@nestjs/common';
import { Piscina } from 'piscina';
import { CLOCK, type Clock } from '../../kernel/clock';

/** Beyond this many characters a group is counted in part and scaled up: a bound on one job's time. */
const MAX_GROUP_LENGTH = 1_000_000;
/** Of all jobs that wait or run: beyond it callers estimate. */
const MAX_WAITING_LENGTH = 32_000_000;
/** An empty job is not free either. */
const MIN_JOB_LENGTH = 1_000;
const MAX_WAITING_JOBS = 10_000;
/** A thread with its vocabulary holds 60 MB. */
const IDLE_THREAD_MS = 60_000;
/** After a job failed no new one is taken for so long, so that threads that die are not started in a loop. */
const REST_MS = 1_000;
/** One core is left to the thread that moves streams. */
const MAX_THREADS = Math.min(2, Math.max(1, availableParallelism() - 1));

/** Tokens of each group of texts; what the worker's file exports. */
export type CountGroups = (groups: readonly (readonly string[])[]) => readonly number[];

/**
 * The tokenizer (o200k_base) in one or two worker threads, started when they are first needed and ended when they are
 * idle. Everything is bounded: what waits, what one job takes, how often a dead thread is started again. A job that cannot
 * be done is `undefined`, never an error.
 */
@Injectable()
export class TokenizerPool {
  /** From asking to the answer. */
  protected readonly jobTimeoutMs: number = 10_000;
  private pool: Piscina<Parameters<CountGroups>[0], readonly number[]> | undefined;
  private waitingLength = 0;
  private failedAtMs = -Infinity;
  private isClosed = false;

  constructor(@Inject(CLOCK) private readonly clock: Clock) {}

  /** Tokens of each group of texts. */
  async count(groups: readonly (readonly string[])[]): Promise<readonly number[] | undefined> {
    const cut = groups.map(cutToBudget);
    const length = Math.max(
      MIN_JOB_LENGTH,
      cut.reduce((sum, group) => sum + group.length, 0),
    );
    if (this.isClosed || this.waitingLength + length > MAX_WAITING_LENGTH || this.isResting()) return undefined;
    this.waitingLength += length;
    try {
      const counts = await this.run(cut.map(({ texts }) => texts));
      return cut.map((group, index) => Math.ceil((counts[index] ?? 0) * group.scale));
    } catch {
      this.failedAtMs = this.clock.monotonicMs();
      this.wake();
      return undefined;
    } finally {
      this.waitingLength -= length;
    }
  }

  /** Ends the threads; jobs that wait or run are answered with undefined. */
  async close(): Promise<void> {
    this.isClosed = true;
    await this.pool?.destroy();
  }

  private isResting(): boolean {
    return this.clock.monotonicMs() - this.failedAtMs < REST_MS;
  }

  private run(groups: readonly (readonly string[])[]): Promise<readonly number[]> {
    this.pool ??= this.start();
    return this.pool.run(groups, { signal: AbortSignal.timeout(this.jobTimeoutMs) });
  }

  private start(): Piscina<Parameters<CountGroups>[0], readonly number[]> {
    const pool = new Piscina<Parameters<CountGroups>[0], readonly number[]>({
      // Beside this file, compiled or not as this file is: Node runs TypeScript of this plain kind by itself, but warns.
      filename: join(__dirname, `token-worker${extname(__filename)}`),
      execArgv: ['--disable-warning=MODULE_TYPELESS_PACKAGE_JSON'],
      minThreads: 0,
      maxThreads: MAX_THREADS,
      maxQueue: MAX_WAITING_JOBS,
      idleTimeout: IDLE_THREAD_MS,
      recordTiming: false,
    });
    // A thread that dies with nothing to do fails no job, but would end this process where nobody listens.
    pool.on('error', () => {
      this.failedAtMs = this.clock.monotonicMs();
    });
    return pool;
  }

  /** The pool starts no thread in place of a dead one until it is given a job: others may wait for one. */
  private wake(): void {
    if (this.isClosed || !this.pool || this.pool.queueSize === 0) return;
    this.run([]).catch(() => undefined);
  }
}

interface CutGroup {
  readonly texts: readonly string[];
  readonly length: number;
  readonly scale: number;
}

function cutToBudget(texts: readonly string[]): CutGroup {
  const whole = texts.reduce((sum, text) => sum + text.length, 0);
  if (whole <= MAX_GROUP_LENGTH) return { texts, length: whole, scale: 1 };
  const kept: string[] = [];
  let left = MAX_GROUP_LENGTH;
  for (const text of texts) {
    if (left <= 0) break;
    kept.push(text.slice(0, left));
    left -= text.length;
  }
  return { texts: kept, length: MAX_GROUP_LENGTH, scale: whole / MAX_GROUP_LENGTH };
}
