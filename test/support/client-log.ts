import { Agent, type IncomingHttpHeaders, request } from 'node:http';

/**
 * What one client saw of one chat call.
 *
 * - answered: the whole body, or a stream up to its `[DONE]`, arrived.
 * - refused: an error status arrived.
 * - unknown: everything else; only the ledger knows what became of it.
 */
export type ClientOutcome = 'answered' | 'refused' | 'unknown';

export interface ClientRecord {
  /** Also the tag of the simulator's record of this call. */
  readonly tag: string;
  readonly isStream: boolean;
  readonly outcome: ClientOutcome;
  readonly status: number | undefined;
  /** The gateway's `x-request-id`: the trace id of the charge. */
  readonly traceId: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: number;
  readonly body: string;
}

export interface ChatCall {
  readonly key: string;
  readonly model: string;
  readonly isStream?: boolean;
  /** More fields of the request body; `x_simulate` is merged with the tag. */
  readonly fields?: { readonly x_simulate?: object } & Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Of a call that is sent again: the same body, byte for byte. */
  readonly tag?: string;
}

export interface RunningCall {
  readonly done: Promise<ClientRecord>;
  /** Bytes of the body that have arrived so far. */
  readonly bytesSoFar: () => number;
  /** Hangs up. */
  readonly abort: () => void;
}

let made = 0;

/** Many clients, each call on a connection of its own or on one that is idle. Writes down what each of them saw. */
export class ClientLog {
  readonly records: ClientRecord[] = [];
  private readonly agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  private readonly listeners = new Set<() => void>();
  private bytes = 0;
  private terminals = 0;
  private running = 0;

  /** Answers never reject: whatever happens is an outcome. A silent answer is given up after `withinMs`. */
  start(url: string, call: ChatCall, withinMs = 60_000): RunningCall {
    made += 1;
    const tag = call.tag ?? `call-${process.pid}-${made}`;
    const { x_simulate: script, ...fields } = call.fields ?? {};
    const isStream = call.isStream === true;
    const body = JSON.stringify({
      model: call.model,
      messages: [{ role: 'user', content: tag }],
      ...(isStream ? { stream: true } : {}),
      ...fields,
      x_simulate: { tag, ...script },
    });
    let bytes = 0;
    const sent = request(`${url}/v1/chat/completions`, {
      method: 'POST',
      agent: this.agent,
      headers: { authorization: `Bearer ${call.key}`, 'content-type': 'application/json', ...call.headers },
    });
    this.running += 1;
    const done = new Promise<ClientRecord>((resolve) => {
      let head: { status: number; headers: IncomingHttpHeaders } | undefined;
      let isWhole = false;
      let text = '';
      const finish = (): void => {
        clearTimeout(timer);
        resolve(recordOf({ tag, isStream, head, isWhole, text, bytes }));
      };
      const timer = setTimeout(() => sent.destroy(), withinMs);
      sent.on('error', finish);
      sent.on('response', (response) => {
        head = { status: response.statusCode ?? 0, headers: response.headers };
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
          bytes += Buffer.byteLength(chunk);
          this.heard(chunk);
        });
        response.on('end', () => {
          isWhole = response.complete;
        });
        response.on('error', finish);
        response.on('close', finish);
      });
    }).then((record) => {
      this.running -= 1;
      this.records.push(record);
      if (this.running === 0) this.tellListeners();
      return record;
    });
    sent.end(body);
    return { done, bytesSoFar: () => bytes, abort: () => sent.destroy() };
  }

  call(url: string, call: ChatCall): Promise<ClientRecord> {
    return this.start(url, call).done;
  }

  /**
   * Resolves in the very turn in which a chunk makes `isReached` true (of all bytes of bodies, and of all `[DONE]`s, that
   * clients have received), or when no call runs any more.
   */
  async reached(isReached: (bytes: number, terminals: number) => boolean): Promise<void> {
    if (isReached(this.bytes, this.terminals) || this.running === 0) return;
    await new Promise<void>((resolve) => {
      const listener = (): void => {
        if (this.running > 0 && !isReached(this.bytes, this.terminals)) return;
        this.listeners.delete(listener);
        resolve();
      };
      this.listeners.add(listener);
    });
  }

  get received(): { readonly bytes: number; readonly terminals: number } {
    return { bytes: this.bytes, terminals: this.terminals };
  }

  count(outcome: ClientOutcome): number {
    return this.records.filter((record) => record.outcome === outcome).length;
  }

  /** How many calls ended with each status; 'none' where no head arrived. */
  statuses(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { status } of this.records) counts[status ?? 'none'] = (counts[status ?? 'none'] ?? 0) + 1;
    return counts;
  }

  close(): void {
    this.agent.destroy();
  }

  private heard(chunk: string): void {
    this.bytes += Buffer.byteLength(chunk);
    if (chunk.includes('data: [DONE]')) this.terminals += 1;
    this.tellListeners();
  }

  private tellListeners(): void {
    for (const listener of [...this.listeners]) listener();
  }
}

interface Seen {
  readonly tag: string;
  readonly isStream: boolean;
  readonly head: { status: number; headers: IncomingHttpHeaders } | undefined;
  readonly isWhole: boolean;
  readonly text: string;
  readonly bytes: number;
}

function recordOf({ tag, isStream, head, isWhole, text, bytes }: Seen): ClientRecord {
  // A replay has no charge of its own.
  const traceId = head?.headers['x-tollgate-original-request-id'] ?? head?.headers['x-request-id'];
  return {
    tag,
    isStream,
    outcome: outcomeOf(head?.status, isStream, isWhole, text),
    status: head?.status,
    traceId: typeof traceId === 'string' ? traceId : undefined,
    headers: head?.headers ?? {},
    bytes,
    body: text,
  };
}

function outcomeOf(status: number | undefined, isStream: boolean, isWhole: boolean, text: string): ClientOutcome {
  if (status === undefined) return 'unknown';
  if (status >= 400) return 'refused';
  if (status !== 200) return 'unknown';
  return (isStream ? text.includes('data: [DONE]') : isWhole) ? 'answered' : 'unknown';
}

/** The error object of a refused call. */
export function errorOf(record: ClientRecord): Readonly<Record<string, unknown>> {
  const body = JSON.parse(record.body) as { error?: Record<string, unknown> };
  if (body.error === undefined) throw new Error(`not an error in OpenAI's shape: ${record.body}`);
  return body.error;
}
