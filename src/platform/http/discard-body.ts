import type { IncomingMessage } from 'node:http';

/** Whoever sends more than this, after he was too long already, is cut off. */
const MAX_DISCARDED_BYTES = 64 * 1024 * 1024;
/** Whoever sends nothing for this long may be waiting for the answer. */
const MAX_PAUSE_MS = 100;

/**
 * Reads what is left of a request's body and keeps nothing of it, so that the answer reaches a client that is still
 * sending: a socket that is closed with unread bytes is reset, and the answer lost with it. Resolves when the body has
 * ended or paused, the client is gone, or too much came.
 */
export function discardBody(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    let discardedBytes = 0;
    const finish = (): void => {
      clearTimeout(pause);
      request.off('data', count);
      resolve();
    };
    const pause = setTimeout(finish, MAX_PAUSE_MS);
    const count = (chunk: Buffer): void => {
      pause.refresh();
      discardedBytes += chunk.length;
      if (discardedBytes > MAX_DISCARDED_BYTES) finish();
    };
    request.on('data', count);
    request.once('end', finish);
    request.once('close', finish);
    request.resume();
  });
}
