import { type Usage } from './answer';
import { type WireName } from './request';

/**
 * How a call ended, as seen from the upstream.
 * running: not yet ended · complete: everything meant to be sent was sent, the client took it · refused: an HTTP error by
 * script or for a bad request · client_aborted: the client left before the end · reset: the simulator tore the connection ·
 * cut_short: a stream that ended by script without its end (endAt, errorEventAt).
 */
export type ServedOutcome = 'running' | 'complete' | 'refused' | 'client_aborted' | 'reset' | 'cut_short';

/** What was served for one call: joins client, upstream and ledger in a test. */
export interface ServedRecord {
  readonly serial: number;
  /** Dialect of the call. */
  readonly wire: WireName;
  /** Path and query as they came. */
  readonly url: string;
  model: string;
  isStream: boolean;
  tag: string | null;
  /** x-request-id, else traceparent, of the request. */
  readonly traceHeader: string | null;
  /** In which header the credentials came; null: in none. */
  readonly credentials: 'bearer' | 'x-api-key' | null;
  /** Request headers, credentials left out. */
  readonly headers: Readonly<Record<string, string>>;
  readonly bodySha256: string;
  readonly body: string;
  /** Null: nothing was answered. */
  status: number | null;
  /** Frames that carry content; `text` is what they carried (empty for replays). */
  contentChunks: number;
  text: string;
  /** Body bytes handed to the socket. */
  bytesSent: number;
  /** The last usage put on the wire, whatever the dialect as chat would say it; null where none was. */
  usage: Usage | null;
  /** The stream's terminal frame or the whole body was handed to the socket. */
  wasTerminalSent: boolean;
  outcome: ServedOutcome;
  readonly receivedAtMs: number;
  firstByteAtMs: number | null;
  endedAtMs: number | null;
}

const LIMIT = 50_000;
/** Enough to see what arrived; a 40 MB body is not kept. */
const BODY_LIMIT_CHARACTERS = 64 * 1024;

/** Bounded: a long run loses its oldest records. */
export class ServedLog {
  private records: ServedRecord[] = [];
  private running = 0;
  private waiters: (() => void)[] = [];

  begin(record: Omit<ServedRecord, 'body'>, body: string): ServedRecord {
    const kept: ServedRecord = { ...record, body: body.slice(0, BODY_LIMIT_CHARACTERS) };
    this.records.push(kept);
    if (this.records.length > LIMIT) this.records = this.records.slice(-LIMIT / 2);
    this.running += 1;
    return kept;
  }

  end(record: ServedRecord, outcome: ServedOutcome): void {
    if (record.outcome !== 'running') return;
    record.outcome = outcome;
    record.endedAtMs = Date.now();
    this.running -= 1;
    if (this.running === 0)
      this.waiters.splice(0).forEach((wake) => {
        wake();
      });
  }

  all(): ServedRecord[] {
    return this.records.map((record) => ({ ...record }));
  }

  clear(): void {
    this.records = this.records.filter((record) => record.outcome === 'running');
  }

  /** Resolves when no call is running. */
  idle(): Promise<void> {
    return this.running === 0 ? Promise.resolve() : new Promise((resolve) => this.waiters.push(resolve));
  }
}
