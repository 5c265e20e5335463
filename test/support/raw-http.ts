import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface RawRequest {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** The exact bytes; none where left out. */
  readonly body?: Buffer | string;
  /** Sent without content-length, in chunks. */
  readonly isChunked?: boolean;
}

/** No two requests share a connection, so that what one breaks does not meet the next. */
const agent = new Agent({ keepAlive: false, maxSockets: Infinity });

/** One request, byte for byte as given. Rejects where no answer comes within `withinMs`. */
export function send(url: string, options: RawRequest, withinMs = 15_000): Promise<RawAnswer> {
  const { method = 'POST', path = '/v1/chat/completions', headers = {}, body, isChunked = false } = options;
  const bytes = body === undefined ? undefined : Buffer.from(body);
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const length = bytes && !isChunked ? { 'content-length': String(bytes.length) } : {};
    const sent = request({ hostname, port, method, path, agent, headers: { ...length, ...headers } });
    const timer = setTimeout(() => sent.destroy(new Error(`no answer within ${withinMs} ms`)), withinMs);
    sent.on('response', (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => {
        clearTimeout(timer);
        const text = Buffer.concat(parts).toString('utf8');
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
      });
      response.on('error', reject);
    });
    sent.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    sent.end(bytes);
  });
}

/** Writes bytes to a socket of its own; resolves with all that came back once the other side has closed it. */
export function sendBytes(port: number, bytes: Buffer | string, withinMs = 15_000): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    const socket = connect(port, '127.0.0.1');
    const timer = setTimeout(() => {
      socket.destroy();
      reject(
        new Error(`the socket is still open after ${withinMs} ms; it answered: ${Buffer.concat(parts).toString()}`),
      );
    }, withinMs);
    socket.on('connect', () => socket.write(bytes));
    socket.on('data', (part) => parts.push(part));
    // A reset is a way of closing.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(parts).toString('utf8'));
    });
  });
}
