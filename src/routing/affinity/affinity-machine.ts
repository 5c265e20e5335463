/**
 * What is known of one session at one model: which upstream its calls ask first, so that what the provider has cached of
 * the conversation is used again.
 *
 *   none ── choose ──► pending ── confirm ──► active ── confirm ──► active, one success more
 *    ▲                  │   ▲                  │   ▲
 *    │                  │   └── choose: the named one may not be asked (it cools down): another is named, pending
 *    │                  │       confirm by another: who chose that way failed over to it: it is active with one success
 *    │                  └───── fail ─────┐     │
 *    └── time ── failed ◄────────────────┴─────┘ fail
 *                  └── choose ──► pending, not the one that failed where there is another
 *
 * - none: nothing is stored. A success may come even so, of a call that took longer than the naming stood: active.
 * - pending: an upstream is named and no call has ended well since. It stands for an hour.
 * - active: it has answered `successCount` calls since it was named; each success prolongs it to an hour.
 * - failed: the last word of the choice that stood was a failure; nothing is named. After a minute, or by the next choice,
 *   it is none.
 *
 * All of it happens in Redis, one script an event (redis-scripts/affinity_*.lua): calls of a session that run at the same
 * time, in any process, see one order of events. Reports of an older choice about another upstream change nothing.
 */
export type AffinityState = 'none' | 'pending' | 'active' | 'failed';

export type AffinityEvent = 'choose' | 'confirm' | 'fail';

export const AFFINITY_STATES: readonly AffinityState[] = ['none', 'pending', 'active', 'failed'];

/** Where an event may lead from a state; staying is told by the state itself. */
export const AFFINITY_TRANSITIONS: Readonly<
  Record<AffinityState, Readonly<Record<AffinityEvent, readonly AffinityState[]>>>
> = {
  none: { choose: ['pending'], confirm: ['active'], fail: ['none'] },
  pending: { choose: ['pending'], confirm: ['active', 'pending'], fail: ['failed', 'pending'] },
  active: { choose: ['active', 'pending'], confirm: ['active'], fail: ['failed', 'active'] },
  failed: { choose: ['pending'], confirm: ['active', 'failed'], fail: ['failed'] },
};

export function isAffinityState(text: unknown): text is AffinityState {
  return AFFINITY_STATES.some((state) => state === text);
}

/** Throws where a script did what the machine does not: it is not the one that this program knows. */
export function assertTransition(event: AffinityEvent, before: unknown, after: unknown): void {
  if (!isAffinityState(before) || !isAffinityState(after) || !AFFINITY_TRANSITIONS[before][event].includes(after)) {
    throw new Error(`affinity: ${event} led from ${String(before)} to ${String(after)}`);
  }
}
