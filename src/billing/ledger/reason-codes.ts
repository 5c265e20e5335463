/** Reason codes that the product writes by itself: what they stand for is relied on, so nobody else writes them. */
export const OWN_REASON_CODE = {
  initialBalance: 'INITIAL_BALANCE',
  lateSettle: 'LATE_SETTLE',
  unanswered: 'UNANSWERED',
  reRated: 'RE_RATED',
  /** Another call has the idempotency key of this one. */
  keyTakenOver: 'KEY_TAKEN_OVER',
} as const;
