const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 1_000;

/** How long to wait before a write is tried forward again: doubled with each attempt (counted from 0), up to a second. */
export function retryPauseMs(attempt: number): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** attempt, MAX_PAUSE_MS);
}
