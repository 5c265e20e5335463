import { type ErrorCode, ERROR_SPECS, refusalStatus } from '../kernel/errors';
import type { UpstreamFailureKind } from '../upstreams/upstream.port';
import {
  type AttemptOutcome,
  type AttemptSituation,
  decideAttempt,
  isCallersFault,
  MAX_ATTEMPTS,
} from './attempt-policy';

const FIRST: AttemptSituation = { firstByteSent: false, attempts: 1, hasNext: true };
const LAST: AttemptSituation = { ...FIRST, hasNext: false };
const status = (value: number, retryAfterMs?: number): AttemptOutcome => ({
  kind: 'status',
  status: value,
  retryAfterMs,
});
const failure = (value: UpstreamFailureKind): AttemptOutcome => ({ kind: 'failure', failure: value });

type Row = readonly [outcome: AttemptOutcome, first: 'answer' | 'retry_next' | 'reject', last: ErrorCode | 'answer'];

const TABLE: readonly Row[] = [
  [status(200), 'answer', 'answer'],
  [status(201), 'answer', 'answer'],
  [status(204), 'answer', 'answer'],
  [status(301), 'retry_next', 'UPSTREAM_ERROR'],
  [status(307), 'retry_next', 'UPSTREAM_ERROR'],
  [status(400), 'reject', 'UPSTREAM_REJECTED'],
  [status(401), 'retry_next', 'UPSTREAM_ERROR'],
  [status(402), 'retry_next', 'UPSTREAM_ERROR'],
  [status(403), 'retry_next', 'UPSTREAM_ERROR'],
  [status(404), 'reject', 'UPSTREAM_REJECTED'],
  [status(405), 'reject', 'UPSTREAM_REJECTED'],
  [status(407), 'retry_next', 'UPSTREAM_ERROR'],
  [status(408), 'retry_next', 'UPSTREAM_TIMEOUT'],
  [status(409), 'retry_next', 'UPSTREAM_ERROR'],
  [status(413), 'reject', 'UPSTREAM_REJECTED'],
  [status(415), 'reject', 'UPSTREAM_REJECTED'],
  [status(422), 'reject', 'UPSTREAM_REJECTED'],
  [status(425), 'retry_next', 'UPSTREAM_ERROR'],
  [status(429), 'retry_next', 'UPSTREAM_RATE_LIMITED'],
  [status(451), 'reject', 'UPSTREAM_REJECTED'],
  [status(500), 'retry_next', 'UPSTREAM_ERROR'],
  [status(501), 'retry_next', 'UPSTREAM_ERROR'],
  [status(502), 'retry_next', 'UPSTREAM_ERROR'],
  [status(503), 'retry_next', 'UPSTREAM_ERROR'],
  [status(504), 'retry_next', 'UPSTREAM_TIMEOUT'],
  [status(529), 'retry_next', 'UPSTREAM_ERROR'],
  [status(999), 'retry_next', 'UPSTREAM_ERROR'],
  [failure('connect'), 'retry_next', 'UPSTREAM_ERROR'],
  [failure('blocked_address'), 'retry_next', 'UPSTREAM_ERROR'],
  [failure('first_byte_timeout'), 'retry_next', 'UPSTREAM_TIMEOUT'],
  [failure('idle_timeout'), 'retry_next', 'UPSTREAM_TIMEOUT'],
  [failure('total_timeout'), 'reject', 'UPSTREAM_TIMEOUT'],
  [failure('reset'), 'retry_next', 'UPSTREAM_ERROR'],
];

const label = (outcome: AttemptOutcome): string =>
  outcome.kind === 'status' ? String(outcome.status) : outcome.failure;

describe('decideAttempt', () => {
  const rows = TABLE.map(([outcome, first, last]) => [label(outcome), first, last, outcome] as const);

  it.each(rows)('%s: with an attempt left %s, at the last %s', (_label, first, last, outcome) => {
    expect(decideAttempt(outcome, FIRST).action).toBe(first);
    const decision = decideAttempt(outcome, LAST);
    expect(decision.action === 'reject' ? decision.refusal.code : decision.action).toBe(last);
  });

  it.each(rows.filter(([, first]) => first === 'retry_next'))(
    '%s is never tried again once a byte has gone out',
    (_label, _first, last, outcome) => {
      const decision = decideAttempt(outcome, { ...FIRST, firstByteSent: true });
      expect(decision.action === 'reject' && decision.refusal.code).toBe(last);
    },
  );

  it('makes at most MAX_ATTEMPTS attempts, or as many as the caller says', () => {
    const at = (attempts: number, maxAttempts?: number): string =>
      decideAttempt(status(500), { ...FIRST, attempts, ...(maxAttempts === undefined ? {} : { maxAttempts }) }).action;
    expect([1, 2, 3, 4].map((attempts) => at(attempts))).toEqual(['retry_next', 'retry_next', 'reject', 'reject']);
    expect(MAX_ATTEMPTS).toBe(3);
    expect([at(1, 1), at(4, 5), at(5, 5)]).toEqual(['reject', 'retry_next', 'reject']);
  });

  it('passes a caller’s 4xx on with its status and everything else with a status of our own', () => {
    for (const [outcome, , last] of TABLE) {
      const decision = decideAttempt(outcome, LAST);
      if (decision.action !== 'reject') continue;
      const expected =
        last === 'UPSTREAM_REJECTED' && outcome.kind === 'status'
          ? outcome.status
          : ERROR_SPECS[decision.refusal.code].status;
      expect(refusalStatus(decision.refusal)).toBe(expected);
    }
  });

  it('hands on how long the upstream asks to wait', () => {
    const refusalOf = (outcome: AttemptOutcome): unknown => {
      const decision = decideAttempt(outcome, LAST);
      return decision.action === 'reject' ? decision.refusal : undefined;
    };
    expect(refusalOf(status(429, 2_500))).toEqual({ code: 'UPSTREAM_RATE_LIMITED', retryAfterMs: 2_500 });
    expect(refusalOf(status(429))).toEqual({ code: 'UPSTREAM_RATE_LIMITED' });
    expect(refusalOf(status(503, 1_000))).toEqual({ code: 'UPSTREAM_ERROR', retryAfterMs: 1_000 });
    expect(refusalOf(status(500, 1_000))).toEqual({ code: 'UPSTREAM_ERROR' });
  });

  it('blames the caller for exactly the 4xx of the table', () => {
    for (const [outcome, first] of TABLE) {
      if (outcome.kind === 'status') expect(isCallersFault(outcome.status)).toBe(first === 'reject');
    }
  });
});
