import { createServer } from 'node:net';

function isFree(port: number, host: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => {
      resolve(undefined);
    });
    probe.listen({ port, host, exclusive: true }, () => {
      const address = probe.address();
      probe.close(() => {
        resolve(typeof address === 'object' && address !== null ? address.port : undefined);
      });
    });
  });
}

/** The wanted port, or the next free one above it (at most 100 further); 0 asks the operating system for any. */
export async function freePort(wanted: number, host = '127.0.0.1'): Promise<number> {
  for (let port = wanted; port <= Math.min(wanted + 100, 65_535); port += 1) {
    const free = await isFree(port, host);
    if (free !== undefined) return free;
  }
  throw new Error(`no free port from ${wanted} to ${wanted + 100} on ${host}`);
}
