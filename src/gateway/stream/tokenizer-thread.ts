import { extname, join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { Inject, Injectable } from '@nestjs/common';

import { CLOCK, type Clock } from '../../kernel/clock';

/** Beyond this many characters a group is counted in part and scaled up: a bound on one job's time. */
const MAX_GROUP_LENGTH = 1_000_000;
/** Of all jobs that wait: beyond it callers estimate. */
const MAX_WAITING_LENGTH = 32_000_000;
/** An empty job is not free either. */
const MIN_JOB_LENGTH = 1_000;
const JOB_TIMEOUT_MS = 10_000;
/** A thread that died is not started again before. */
const RESTART_AFTER_MS = 30_000;

interface WaitingJob {
  readonly length: number;
  readonly timer: NodeJS.Timeout;
  readonly settle: (counts: readonly number[] | undefined) => void;
}

interface Answer {
  readonly id: number;
  readonly counts: readonly number[];
}

/**
 * The tokenizer (o200k_base) in one worker thread, started when it is first needed. Everything is bounded: what waits,
 * what one job takes, how often a dead thread is started again. A job that cannot be done is `undefined`, never an error.
 */
@Injectable()
export class TokenizerThread {
  private worker: Worker | undefined;
  private readonly waiting = new Map<number, WaitingJob>();
  private waitingLength = 0;
  private lastId = 0;
  private diedAtMs: number | undefined;
  private isClosed = false;

  constructor(@Inject(CLOCK) private readonly clock: Clock) {}

  /** Tokens of each group of texts. */
  async count(groups: readonly (readonly string[])[]): Promise<readonly number[] | undefined> {
    const cut = groups.map(cutToBudget);
    const length = Math.max(
      MIN_JOB_LENGTH,
      cut.reduce((sum, group) => sum + group.length, 0),
    );
    const worker = this.waitingLength + length <= MAX_WAITING_LENGTH ? this.running() : undefined;
    if (!worker) return undefined;
    const counts = await new Promise<readonly number[] | undefined>((settle) => {
      const id = ++this.lastId;
      const timer = setTimeout(() => {
        this.abandon(worker);
      }, JOB_TIMEOUT_MS);
      this.waiting.set(id, { length, timer, settle });
      this.waitingLength += length;
      worker.postMessage({ id, groups: cut.map((group) => group.texts) });
    });
    return counts && cut.map((group, index) => Math.ceil((counts[index] ?? 0) * group.scale));
  }

  /** Ends the thread; jobs that wait are answered with undefined. */
  async close(): Promise<void> {
    this.isClosed = true;
    const worker = this.worker;
    if (!worker) return;
    this.abandon(worker);
    await worker.terminate();
  }

  private running(): Worker | undefined {
    if (this.worker || this.isClosed) return this.worker;
    if (this.diedAtMs !== undefined && this.clock.monotonicMs() - this.diedAtMs < RESTART_AFTER_MS) return undefined;
    // Beside this file, compiled or not as this file is: Node runs TypeScript of this plain kind by itself, but warns.
    const worker = new Worker(join(__dirname, `token-worker${extname(__filename)}`), {
      execArgv: ['--disable-warning=MODULE_TYPELESS_PACKAGE_JSON'],
    });
    worker.on('message', ({ id, counts }: Answer) => {
      this.settle(id, counts);
    });
    worker.on('error', () => {
      this.abandon(worker);
    });
    worker.on('exit', () => {
      this.abandon(worker);
    });
    worker.unref();
    this.worker = worker;
    return worker;
  }

  /** A thread that died or hangs: its jobs are answered, the next one may start another. */
  private abandon(worker: Worker): void {
    if (this.worker !== worker) return;
    this.worker = undefined;
    this.diedAtMs = this.clock.monotonicMs();
    for (const id of [...this.waiting.keys()]) this.settle(id, undefined);
    void worker.terminate();
  }

  private settle(id: number, counts: readonly number[] | undefined): void {
    const job = this.waiting.get(id);
    if (!job) return;
    this.waiting.delete(id);
    this.waitingLength -= job.length;
    clearTimeout(job.timer);
    job.settle(counts);
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
