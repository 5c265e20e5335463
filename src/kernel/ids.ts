import { v7 } from 'uuid';

/** Time-ordered UUIDv7: ids made later sort later, so a time range is an id range (see floorOfTime). */
export function newId(): string {
  return v7();
}

/** Smallest UUIDv7 of a millisecond: rows made at or after `timeMs` have an id ≥ this. */
export function floorOfTime(timeMs: number): string {
  const hex = Math.max(0, Math.floor(timeMs)).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7000-8000-000000000000`;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isUuid(text: string): boolean {
  return UUID.test(text);
}
