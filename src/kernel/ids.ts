import { randomFillSync } from 'node:crypto';
import { v7 } from 'uuid';

const BYTES_OF_AN_ID = 16;
/** Random bytes for this many ids are drawn at once: a call of the generator costs more than the rest of an id. */
const IDS_AT_ONCE = 256;
const pool = new Uint8Array(BYTES_OF_AN_ID * IDS_AT_ONCE);
let nextByte = pool.length;
let lastMs = 0;
let sequence = 0;

/**
 * Time-ordered UUIDv7: of one process' ids, one made later sorts later, also within a millisecond and when the clock is
 * set back; across processes a time range is an id range (see floorOfTime).
 */
export function newId(): string {
  if (nextByte === pool.length) {
    randomFillSync(pool);
    nextByte = 0;
  }
  const random = pool.subarray(nextByte, nextByte + BYTES_OF_AN_ID);
  nextByte += BYTES_OF_AN_ID;
  const nowMs = Date.now();
  if (nowMs > lastMs) {
    lastMs = nowMs;
    // The upper half stays free to count in.
    sequence = new DataView(random.buffer, random.byteOffset).getUint32(0) >>> 1;
  } else {
    sequence += 1;
  }
  return v7({ random, msecs: lastMs, seq: sequence });
}

/** Smallest UUIDv7 of a millisecond: rows made at or after `timeMs` have an id ≥ this. */
export function floorOfTime(timeMs: number): string {
  const hex = Math.max(0, Math.floor(timeMs)).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7000-8000-000000000000`;
}

/** Smallest id of the millisecond in which `id` was made: ids of one millisecond have no order among themselves. */
export function floorOfId(id: string): string {
  return `${id.slice(0, 13)}-7000-8000-000000000000`;
}
