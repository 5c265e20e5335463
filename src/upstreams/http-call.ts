import type { Dispatcher } from 'undici';
import type { Clock } from '../kernel/clock';
import { BlockedAddressError } from './base-url-policy';
import type { PoolLease } from './upstream-pools';
import type { UpstreamCall, UpstreamDeadlines, UpstreamFailureKind, UpstreamReader } from './upstream.port';

type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** Given to undici where the reader hears nothing of it; made once, since a stack trace costs more than the abort. */
const ENDED_HERE = new Error('the call was ended by the gateway');

/**
 * One HTTP/1.1 exchange over undici, told to an UpstreamReader.
 *
 *   connecting ──► sent ──► streaming ──► ended
 *        └──────────┴──────────┴────────► ended   (failure, deadline, abort)
 *
 * One timer a call watches all three deadlines: chunks only leave a timestamp, the timer looks at it when it fires and
 * re-arms itself. It is never armed for longer than the idle deadline, so the first byte needs no re-arming either.
 */
export class HttpCall implements UpstreamCall, Dispatcher.DispatchHandler {
  private controller: Dispatcher.DispatchController | undefined;
  private timer: NodeJS.Timeout | undefined;
  private readonly startedMs: number;
  /** Start of the silence that is measured now; moved on by the time spent paused. */
  private silenceSinceMs: number;
  private pausedAtMs = 0;
  private isPaused = false;
  private hasFirstByte = false;
  private isEnded = false;
  /** Until start() has returned, failures wait: no reader is called back before its caller holds the call. */
  private isStarting = true;

  constructor(
    private readonly reader: UpstreamReader,
    private readonly deadlines: UpstreamDeadlines,
    private readonly clock: Clock,
    private readonly lease: PoolLease,
  ) {
    this.startedMs = clock.monotonicMs();
    this.silenceSinceMs = this.startedMs;
  }

  start(path: string, headers: string[], body: Buffer): this {
    this.lease.pool.dispatch({ method: 'POST', path, headers, body }, this);
    this.isStarting = false;
    this.watch(Math.min(this.deadlines.firstByteMs, this.deadlines.idleMs, this.deadlines.totalMs));
    return this;
  }

  pause(): void {
    if (this.isEnded || this.isPaused) return;
    this.isPaused = true;
    this.pausedAtMs = this.clock.monotonicMs();
    this.controller?.pause();
  }

  resume(): void {
    if (this.isEnded || !this.isPaused) return;
    this.isPaused = false;
    const now = this.clock.monotonicMs();
    this.silenceSinceMs = Math.min(now, this.silenceSinceMs + (now - this.pausedAtMs));
    // undici parses at once on resume and must not do so inside another call's parsing, from where we may be called.
    queueMicrotask(() => {
      if (!this.isEnded && !this.isPaused) this.controller?.resume();
    });
  }

  abort(): void {
    if (this.isEnded) return;
    this.end();
    this.controller?.abort(ENDED_HERE);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Ended while it waited for a connection: throwing keeps the connection for the next call, unlike abort.
    if (this.isEnded) throw ENDED_HERE;
    this.controller = controller;
    if (this.isPaused) controller.pause();
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: ResponseHeaders): void {
    if (this.isEnded || status < 200) return;
    const encoding = headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity') {
      this.breakOff('reset', 'the upstream compressed its answer though it was asked not to');
      return;
    }
    this.reader.onHeaders(status, headers);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.isEnded) return;
    this.hasFirstByte = true;
    this.silenceSinceMs = this.clock.monotonicMs();
    this.reader.onData(chunk);
  }

  onResponseEnd(): void {
    if (this.isEnded) return;
    this.end();
    try {
      this.reader.onEnd();
    } catch (error) {
      // undici would swallow it, and whoever waits for this call would wait for ever.
      this.reader.onFailure({ kind: 'reset', message: `the reader failed at the end: ${describe(error)}` });
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    if (this.isEnded) return;
    if (this.isStarting) {
      queueMicrotask(() => {
        this.onResponseError(null, error);
      });
      return;
    }
    const kind = error instanceof BlockedAddressError ? 'blocked_address' : this.controller ? 'reset' : 'connect';
    this.end();
    this.reader.onFailure({ kind, message: describe(error) });
  }

  private watch(delayMs: number): void {
    if (!this.isEnded) this.timer = setTimeout(lookAtDeadlines, Math.max(1, Math.ceil(delayMs)), this);
  }

  /** @internal Called by the timer. */
  lookAtDeadlines(isSecondLook: boolean): void {
    if (this.isEnded) return;
    const now = this.clock.monotonicMs();
    const { firstByteMs, idleMs, totalMs } = this.deadlines;
    const totalLeftMs = this.startedMs + totalMs - now;
    const silenceLimitMs = this.hasFirstByte ? idleMs : firstByteMs;
    const silenceLeftMs = this.isPaused ? idleMs : this.silenceSinceMs + silenceLimitMs - now;
    if (totalLeftMs > 0 && silenceLeftMs > 0) {
      this.watch(Math.min(totalLeftMs, silenceLeftMs, idleMs));
      return;
    }
    if (!isSecondLook) {
      // After a stall of our own event loop the answer may lie unread in the socket: let it be read first.
      setImmediate(lookAgain, this);
      return;
    }
    const kind = totalLeftMs <= 0 ? 'total_timeout' : this.hasFirstByte ? 'idle_timeout' : 'first_byte_timeout';
    const elapsedMs = Math.round(now - this.startedMs);
    if (this.controller) this.breakOff(kind, `${kind} after ${elapsedMs} ms`);
    else this.breakOff('connect', `no connection after ${elapsedMs} ms`);
  }

  private breakOff(kind: UpstreamFailureKind, message: string): void {
    this.end();
    this.controller?.abort(ENDED_HERE);
    this.reader.onFailure({ kind, message });
  }

  private end(): void {
    this.isEnded = true;
    this.lease.inFlight -= 1;
    clearTimeout(this.timer);
  }
}

function lookAtDeadlines(call: HttpCall): void {
  call.lookAtDeadlines(false);
}

function lookAgain(call: HttpCall): void {
  call.lookAtDeadlines(true);
}

/** For logs. Errors of sockets and of undici name addresses and codes, never headers or bodies. */
function describe(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describe).join('; ');
  return error instanceof Error ? `${error.name}: ${error.message}` : 'unknown error';
}
