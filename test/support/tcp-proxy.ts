import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * What becomes of bytes on the way.
 *
 * - pass: they arrive.
 * - silence: nothing arrives in either direction, and nobody is told.
 * - lose_replies: what the client sends arrives, what the server answers does not.
 * - late_replies: what the client sends arrives, what the server answers only once everything passes again.
 */
export type WireMode = 'pass' | 'silence' | 'lose_replies' | 'late_replies';

/** A wire between a gateway and one of its servers that a test can break. */
export interface TcpProxy {
  /** The server's URL with the proxy's address in it. */
  readonly url: string;
  setMode(mode: WireMode): void;
  /** Tears every connection that stands. */
  reset(): void;
  close(): Promise<void>;
}

export async function startTcpProxy(serverUrl: string): Promise<TcpProxy> {
  const target = new URL(serverUrl);
  const sockets = new Set<Socket>();
  let mode: WireMode = 'pass';
  let late: (() => void)[] = [];
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    for (const [from, to, isReply] of [
      [client, upstream, false],
      [upstream, client, true],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('data', (bytes) => {
        if (mode === 'pass' || (mode !== 'silence' && !isReply)) to.write(bytes);
        else if (mode === 'late_replies') late.push(() => to.write(bytes));
      });
      // A broken wire is what this is for.
      from.on('error', () => undefined);
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(serverUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  const reset = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: url.href,
    setMode: (next) => {
      mode = next;
      if (mode !== 'pass') return;
      for (const arrive of late) arrive();
      late = [];
    },
    reset,
    close: async () => {
      server.close();
      reset();
      await once(server, 'close');
    },
  };
}
