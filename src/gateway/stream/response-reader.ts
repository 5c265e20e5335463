import type { Clock } from '../../kernel/clock';
import type { UpstreamCall, UpstreamFailure, UpstreamReader } from '../../upstreams/upstream.port';
import type { StreamPump } from './stream-pump';
import type { StreamEnding } from './stream-ending';

/** How one attempt ended. */
export type AttemptResult =
  | { readonly kind: 'stream'; readonly pump: StreamPump; readonly ending: StreamEnding }
  | { readonly kind: 'body'; readonly status: number; readonly headers: ResponseHeaders; readonly body: Buffer }
  | { readonly kind: 'failure'; readonly failure: UpstreamFailure };

export type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** Of a whole body; a larger one is no chat completion. */
const MAX_BODY_BYTES = 32 * 1024 * 1024;

/**
 * Reads one attempt: a 2xx event stream, where one was asked for, goes to a pump with its first byte; everything else is
 * collected. `result` resolves once and never rejects.
 */
export class ResponseReader implements UpstreamReader {
  private readonly outcome = Promise.withResolvers<AttemptResult>();
  private call: UpstreamCall | undefined;
  /** Null until headers came. */
  status: number | null = null;
  /** Of the body, by the monotonic clock. */
  firstByteAtMs: number | undefined;
  private headers: ResponseHeaders = {};
  private isStream = false;
  private pump: StreamPump | undefined;
  private readonly chunks: Buffer[] = [];
  private bytes = 0;

  /** @param createPump absent where no stream was asked for */
  constructor(
    private readonly clock: Clock,
    private readonly createPump: (() => StreamPump) | undefined,
  ) {}

  get result(): Promise<AttemptResult> {
    return this.outcome.promise;
  }

  /** What came of a body that was not given to a pump, whole or not. */
  get body(): Buffer {
    const [only] = this.chunks;
    return this.chunks.length === 1 && only ? only : Buffer.concat(this.chunks);
  }

  /** Whether a stream has begun: from then on a pump decides how it ends. */
  get isPumping(): boolean {
    return this.pump !== undefined;
  }

  attach(call: UpstreamCall): void {
    this.call = call;
    this.pump?.attach(call);
  }

  /** Ends the attempt from our side: a stream where it stands, anything else as a failure. */
  cut(message: string): void {
    if (this.pump) {
      this.pump.cut();
      return;
    }
    this.call?.abort();
    this.fail(message);
  }

  onHeaders(status: number, headers: ResponseHeaders): void {
    this.status = status;
    this.headers = headers;
    const isSuccess = status >= 200 && status < 300;
    const type = headers['content-type'];
    this.isStream = isSuccess && typeof type === 'string' && type.includes('text/event-stream');
    if (isSuccess && this.createPump && !this.isStream) {
      this.call?.abort();
      this.fail('the answer to a stream request is no event stream');
    }
  }

  onData(chunk: Buffer): void {
    this.firstByteAtMs ??= this.clock.monotonicMs();
    if (this.pump) {
      this.pump.onData(chunk);
    } else if (this.isStream && this.createPump) {
      this.startPump(this.createPump()).onData(chunk);
    } else {
      this.bytes += chunk.length;
      if (this.bytes <= MAX_BODY_BYTES) {
        this.chunks.push(chunk);
      } else {
        this.call?.abort();
        this.fail('the body is larger than 32 MB');
      }
    }
  }

  onEnd(): void {
    if (this.pump) {
      this.pump.onEnd();
    } else if (this.isStream && this.createPump) {
      this.fail('the stream ended before its first byte');
    } else {
      const { status, headers, body } = this;
      this.outcome.resolve({ kind: 'body', status: status ?? 0, headers, body });
    }
  }

  onFailure(failure: UpstreamFailure): void {
    if (this.pump) this.pump.onFailure(failure);
    else this.outcome.resolve({ kind: 'failure', failure });
  }

  private startPump(pump: StreamPump): StreamPump {
    this.pump = pump;
    if (this.call) pump.attach(this.call);
    void pump.ended.then((ending) => {
      this.outcome.resolve({ kind: 'stream', pump, ending });
    });
    return pump;
  }

  private fail(message: string): void {
    this.outcome.resolve({ kind: 'failure', failure: { kind: 'reset', message } });
  }
}
