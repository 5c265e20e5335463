import type { Behaviour } from '../simulator/behaviour';
import type { ServedOutcome } from '../simulator/served-log';

/** One way a call can end, and what must come of it: by money.md's table, amounts by hand. */
export interface Ending {
  readonly what: string;
  /**
   * patient: DISCONNECT_POLICY=drain, BROKEN_STREAM_POLICY=delivered, the deadlines of production. strict: cut and void.
   * hasty: as patient, but 700 ms to the first byte and of silence, and 300 ms of drain.
   */
  readonly on: 'patient' | 'strict' | 'hasty';
  readonly isStream: boolean;
  /** In the order of attempts. */
  readonly upstreams: readonly Behaviour[];
  readonly hangUp?: 'before the answer' | { readonly afterWords: number };
  readonly expected: Expected;
}

export interface Expected {
  readonly bill: Bill;
  readonly client: {
    readonly end: 'whole' | 'error' | 'hung up';
    readonly status?: number;
    readonly code?: string;
  };
  /** What reached the client; `a prefix` where the network decides how much. */
  readonly words: string;
  readonly attempts?: readonly string[];
  /** As the provider saw it. */
  readonly served?: readonly ServedOutcome[];
}

export type Bill =
  | { readonly voided: string }
  | {
      readonly nanoUsd: bigint | 'the words seen';
      readonly method: 'usage' | 'tokenizer';
      readonly endReason: string;
    };

/** Six tokens. */
export const TEXT = 'one two three four five six';
const HALF = 'one two three';

/** 100 and 50 tokens are reported where 8 and 6 were sent: so it shows which of the two was billed. */
const GOOD: Behaviour = { text: TEXT, promptTokens: 100, completionTokens: 50 };

/** What OpenRouter sends while it waits for a provider. */
const COMMENTS_THEN_ERROR: Behaviour = {
  body: ': PROCESSING\n\n: PROCESSING\n\ndata: {"error":{"message":"overloaded"}}\n\n',
};

const usage = (endReason = 'complete'): Bill => ({ nanoUsd: 200_000n, method: 'usage', endReason });
/** 8 × 1,000 + 6 × 2,000 */
const counted = (endReason = 'complete'): Bill => ({ nanoUsd: 20_000n, method: 'tokenizer', endReason });
/** 8 × 1,000 + 3 × 2,000 */
const half = (endReason: string): Bill => ({ nanoUsd: 14_000n, method: 'tokenizer', endReason });
const voided = (code: string): Bill => ({ voided: code });

const WHOLE = { client: { end: 'whole', status: 200 }, words: TEXT } as const;
const HUNG_UP = { client: { end: 'hung up' } } as const;
/** The head of a stream went out with 200: only an event can tell. */
const BROKEN = { client: { end: 'error', status: 200, code: 'UPSTREAM_ERROR' } } as const;
const refused = (status: number, code: string): Pick<Expected, 'client' | 'words'> => ({
  client: { end: 'error', status, code },
  words: '',
});
const FAILED = { bill: voided('UPSTREAM_ERROR'), ...refused(502, 'UPSTREAM_ERROR') } as const;
const TIMED_OUT = { bill: voided('UPSTREAM_TIMEOUT'), ...refused(504, 'UPSTREAM_TIMEOUT') } as const;
const LIMITED = { bill: voided('UPSTREAM_RATE_LIMITED'), ...refused(429, 'UPSTREAM_RATE_LIMITED') } as const;

type Row = Omit<Ending, 'isStream' | 'on'> & { readonly on?: Ending['on'] };
const streamed = (row: Row): Ending => ({ on: 'patient', ...row, isStream: true });
const whole = (row: Row): Ending => ({ on: 'patient', ...row, isStream: false });
const both = (row: Row): Ending[] => [streamed(row), whole(row)];

const SUCCESS: readonly Ending[] = [
  ...both({ what: 'success with usage', upstreams: [GOOD], expected: { ...WHOLE, bill: usage() } }),
  ...both({
    what: 'success with the usage missing',
    upstreams: [{ ...GOOD, usage: 'omitted' }],
    expected: { ...WHOLE, bill: counted() },
  }),
  ...both({
    what: 'success with a usage of null',
    upstreams: [{ ...GOOD, usage: 'null' }],
    expected: { ...WHOLE, bill: counted() },
  }),
  ...both({
    what: 'success with an explicit usage of 0',
    upstreams: [{ ...GOOD, usage: 'zero' }],
    expected: { ...WHOLE, bill: { nanoUsd: 0n, method: 'usage', endReason: 'complete' } },
  }),
  streamed({
    what: 'usage twice, the last one right',
    upstreams: [{ ...GOOD, usage: 'twice' }],
    expected: { ...WHOLE, bill: usage() },
  }),
  streamed({
    what: 'usage on every chunk',
    upstreams: [{ ...GOOD, usage: 'repeated' }],
    expected: { ...WHOLE, bill: usage() },
  }),
  whole({
    what: 'usage twice in one object, the last one right',
    upstreams: [
      {
        body:
          '{"usage":{"prompt_tokens":1,"completion_tokens":1},' +
          `"choices":[{"index":0,"message":{"role":"assistant","content":"${TEXT}"},"finish_reason":"stop"}],` +
          '"usage":{"prompt_tokens":100,"completion_tokens":50}}',
      },
    ],
    expected: { ...WHOLE, bill: usage() },
  }),
  streamed({
    what: 'usage, but no [DONE]',
    upstreams: [{ ...GOOD, done: false }],
    expected: { ...WHOLE, bill: usage() },
  }),
  streamed({
    what: 'neither usage nor [DONE], but a finish reason',
    upstreams: [{ ...GOOD, usage: 'omitted', done: false }],
    expected: { ...WHOLE, bill: counted() },
  }),
  streamed({
    what: 'a line of garbage in the middle',
    upstreams: [{ ...GOOD, garbageAt: 3 }],
    expected: { ...WHOLE, bill: usage() },
  }),
];

const HANG_UPS: readonly Ending[] = [
  streamed({
    what: 'the client hangs up in the middle (drain)',
    upstreams: [{ ...GOOD, paceMs: 150 }],
    hangUp: { afterWords: 2 },
    expected: { ...HUNG_UP, words: 'one two', bill: usage('client_left_drained'), served: ['complete'] },
  }),
  streamed({
    what: 'the client hangs up in the middle (cut)',
    on: 'strict',
    upstreams: [{ ...GOOD, hangAt: 3 }],
    hangUp: { afterWords: 3 },
    expected: { ...HUNG_UP, words: HALF, bill: half('client_left'), served: ['client_aborted'] },
  }),
  streamed({
    what: 'the client hangs up, and the upstream stays silent longer than is drained',
    on: 'hasty',
    upstreams: [{ ...GOOD, hangAt: 3 }],
    hangUp: { afterWords: 3 },
    expected: { ...HUNG_UP, words: HALF, bill: half('client_left'), served: ['client_aborted'] },
  }),
  ...both({
    what: 'the client hangs up before the first byte (drain), which comes',
    upstreams: [{ ...GOOD, headersDelayMs: 1_000 }],
    hangUp: 'before the answer',
    expected: { ...HUNG_UP, words: '', bill: usage(), served: ['complete'] },
  }).map((ending) => withEndReason(ending, ending.isStream ? 'client_left_drained' : 'client_left')),
  ...both({
    what: 'the client hangs up before the first byte (cut)',
    on: 'strict',
    upstreams: [{ ...GOOD, hangAt: 'headers' }],
    hangUp: 'before the answer',
    expected: { ...HUNG_UP, words: '', bill: voided('CLIENT_CLOSED_REQUEST'), served: ['client_aborted'] },
  }),
];

const BREAKS: readonly Ending[] = [
  streamed({
    what: 'the upstream resets after 3 chunks (delivered)',
    upstreams: [{ ...GOOD, resetAt: 3 }],
    expected: {
      ...BROKEN,
      words: 'a prefix',
      bill: { nanoUsd: 'the words seen', method: 'tokenizer', endReason: 'upstream_broke' },
    },
  }),
  streamed({
    what: 'the upstream resets after 3 chunks (void)',
    on: 'strict',
    upstreams: [{ ...GOOD, resetAt: 3 }],
    expected: { ...BROKEN, words: 'a prefix', bill: voided('BROKEN_STREAM') },
  }),
  streamed({
    what: 'the upstream ends after 3 chunks as if that were all (delivered)',
    upstreams: [{ ...GOOD, endAt: 3 }],
    expected: { ...BROKEN, words: HALF, bill: half('upstream_broke') },
  }),
  streamed({
    what: 'the upstream ends after 3 chunks as if that were all (void)',
    on: 'strict',
    upstreams: [{ ...GOOD, endAt: 3 }],
    expected: { ...BROKEN, words: HALF, bill: voided('BROKEN_STREAM') },
  }),
  streamed({
    // 100 × 1,000 + 3 × 2,000: the usage that was reported on the way counts.
    what: 'the upstream ends after 3 chunks with a growing usage on each',
    upstreams: [{ ...GOOD, usage: 'repeated', resetAt: 3 }],
    expected: {
      ...BROKEN,
      words: HALF,
      bill: { nanoUsd: 106_000n, method: 'usage', endReason: 'upstream_broke' },
    },
  }),
  streamed({
    what: 'an error event after 3 chunks of a 200 (delivered)',
    upstreams: [{ ...GOOD, errorEventAt: 3, errorEventMessage: 'words that nobody pays '.repeat(50) }],
    expected: { ...BROKEN, words: HALF, bill: half('upstream_error_event') },
  }),
  streamed({
    what: 'an error event after 3 chunks of a 200 (void)',
    on: 'strict',
    upstreams: [{ ...GOOD, errorEventAt: 3 }],
    expected: { ...BROKEN, words: HALF, bill: voided('BROKEN_STREAM') },
  }),
  streamed({
    what: 'an error event as the first of a 200',
    upstreams: [{ ...GOOD, errorEventAt: 0 }],
    expected: { ...FAILED, attempts: ['reset'] },
  }),
  streamed({
    what: 'comments, and then an error event',
    upstreams: [COMMENTS_THEN_ERROR],
    expected: { ...FAILED, attempts: ['reset'] },
  }),
  streamed({
    what: 'comments, and then an error event, where another upstream answers',
    upstreams: [COMMENTS_THEN_ERROR, { ...GOOD, comments: true }],
    expected: { ...WHOLE, bill: usage(), attempts: ['reset', 'complete'] },
  }),
  whole({
    what: 'an error in a 200',
    upstreams: [{ body: '{"error":{"message":"overloaded","type":"server_error"}}' }],
    expected: { ...FAILED, attempts: ['reset'] },
  }),
  whole({
    what: 'the upstream resets in the middle of the body',
    upstreams: [{ ...GOOD, sliceBytes: [40], resetAt: 1 }],
    expected: { ...FAILED, attempts: ['reset'] },
  }),
];

const HANGS: readonly Ending[] = [
  ...both({
    what: 'the upstream hangs before its first byte',
    on: 'hasty',
    upstreams: [{ ...GOOD, hangAt: 'headers' }],
    expected: { ...TIMED_OUT, attempts: ['first_byte_timeout'], served: ['client_aborted'] },
  }),
  streamed({
    what: 'the upstream hangs in the middle',
    on: 'hasty',
    upstreams: [{ ...GOOD, hangAt: 3 }],
    expected: { ...BROKEN, words: HALF, bill: half('upstream_broke'), served: ['client_aborted'] },
  }),
  whole({
    what: 'the upstream hangs in the middle',
    on: 'hasty',
    upstreams: [{ ...GOOD, sliceBytes: [40], hangAt: 1 }],
    expected: { ...TIMED_OUT, attempts: ['idle_timeout'], served: ['client_aborted'] },
  }),
  whole({
    what: 'the body ends before its length',
    on: 'hasty',
    upstreams: [{ ...GOOD, sliceBytes: [40], endAt: 1 }],
    expected: { ...TIMED_OUT, attempts: ['idle_timeout'] },
  }),
  ...both({
    what: 'the first upstream hangs, the second answers',
    on: 'hasty',
    upstreams: [{ ...GOOD, hangAt: 'headers' }, GOOD],
    expected: { ...WHOLE, bill: usage(), served: ['client_aborted', 'complete'] },
  }),
];

const FAILURES: readonly Ending[] = [
  ...both({
    what: 'every attempt fails',
    upstreams: [{ fail: { status: 500 } }, { resetAt: 'headers' }, { fail: { status: 503 } }],
    expected: { ...FAILED, attempts: ['500', 'reset', '503'] },
  }),
  ...both({
    what: 'every upstream is at its limit',
    upstreams: [{ fail: { status: 429 } }, { fail: { status: 429, retryAfter: '7' } }],
    expected: { ...LIMITED, attempts: ['429', '429'] },
  }),
  ...both({
    what: 'the upstream refuses the request, which no other is asked for',
    upstreams: [{ fail: { status: 400, message: 'no' } }, GOOD],
    expected: { bill: voided('UPSTREAM_REJECTED'), ...refused(400, 'UPSTREAM_REJECTED'), attempts: ['400'] },
  }),
  ...both({
    what: 'a web page instead of an answer',
    upstreams: [{ body: '<html>It works!</html>\n\n', contentType: 'text/html' }],
    expected: { ...FAILED, attempts: ['reset'] },
  }),
  ...both({
    what: 'a web page that claims to be what was asked for',
    upstreams: [{ body: '<html>\n\nIt works!</html>\n\n' }],
    expected: { ...FAILED, attempts: ['reset'] },
  }),
  ...both({
    what: 'nothing at all in a 200',
    upstreams: [{ body: '' }],
    expected: { ...FAILED, attempts: ['reset'] },
  }),
  whole({
    what: 'half a JSON object',
    upstreams: [{ body: '{"choices":[{"index":0,"message":{"content":"one' }],
    expected: { ...FAILED, attempts: ['reset'] },
  }),
  whole({
    what: 'JSON that is no object',
    upstreams: [{ body: '["one"]' }],
    expected: { ...FAILED, attempts: ['reset'] },
  }),
];

export const ENDINGS: readonly Ending[] = [...SUCCESS, ...HANG_UPS, ...BREAKS, ...HANGS, ...FAILURES];

function withEndReason(ending: Ending, endReason: string): Ending {
  const { bill } = ending.expected;
  return 'voided' in bill ? ending : { ...ending, expected: { ...ending.expected, bill: { ...bill, endReason } } };
}
