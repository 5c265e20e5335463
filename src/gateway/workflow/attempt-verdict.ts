import { type Refusal, refuse } from '../../kernel/errors';
import { type AttemptOutcome, type AttemptSituation, decideAttempt } from '../../routing/attempt-policy';
import { retryAfterMsOf } from '../../routing/retry-after';
import { withUpstreamMessage } from '../../routing/upstream-message';
import type { UpstreamTarget } from '../../upstreams/upstream.port';
import type { Dialect } from '../dialects/dialect';
import type { WholeAnswer } from '../dialects/whole-answer';
import type { AttemptResult } from '../stream/response-reader';
import type { Answer } from './workflow.context';

/** What one attempt means for the call. */
export type AttemptVerdict =
  | { readonly kind: 'answered'; readonly answer: Answer; readonly firstByteAtMs: number | undefined }
  | { readonly kind: 'retry'; readonly refusal: Refusal }
  | { readonly kind: 'rejected'; readonly refusal: Refusal };

/** The verdict, what routing is told, and the word for log and metric. */
export interface JudgedAttempt {
  readonly verdict: AttemptVerdict;
  readonly reported: AttemptOutcome;
  readonly label: string;
}

export interface AttemptFacts extends Omit<AttemptSituation, 'firstByteSent'> {
  readonly target: UpstreamTarget;
  /** Of the provider's dialect. */
  readonly readAnswer: Dialect['readAnswer'];
  /** The provider's dialect is not the client's. */
  readonly isTranslated: boolean;
  /** As the client named it. */
  readonly model: string;
  /** The client's head went out. */
  readonly isOpened: boolean;
  /** Wall clock, for Retry-After dates. */
  readonly nowMs: number;
}

const BROKEN: AttemptOutcome = { kind: 'failure', failure: 'reset' };

export function judgeAttempt(result: AttemptResult, facts: AttemptFacts): JudgedAttempt {
  switch (result.kind) {
    case 'stream':
      return judgeStream(result, facts);
    case 'body':
      return judgeBody(result, facts);
    case 'failure':
      return undone({ kind: 'failure', failure: result.failure.kind }, facts);
  }
}

function judgeStream(result: Extract<AttemptResult, { kind: 'stream' }>, facts: AttemptFacts): JudgedAttempt {
  const { reason, firstByteAtMs } = result.ending;
  const isBroken = reason === 'upstream_broke' || reason === 'upstream_error_event';
  // Before the client was sent anything a broken stream is like no stream: the next upstream may do better.
  if (isBroken && !facts.isOpened) return undone(BROKEN, facts);
  return {
    verdict: { kind: 'answered', answer: result, firstByteAtMs },
    reported: isBroken ? BROKEN : { kind: 'status', status: 200 },
    label: reason,
  };
}

function judgeBody(result: Extract<AttemptResult, { kind: 'body' }>, facts: AttemptFacts): JudgedAttempt {
  const { status, headers, body } = result;
  if (status < 200 || status >= 300) {
    const outcome: AttemptOutcome = { kind: 'status', status, retryAfterMs: retryAfterMsOf(headers, facts.nowMs) };
    return undone(outcome, facts, body);
  }
  const completion = facts.readAnswer(body);
  if (!completion || completion.errorEvent !== undefined) return undone(BROKEN, facts);
  return answeredWhole(body, completion, status);
}

function answeredWhole(body: Buffer, completion: WholeAnswer, status: number): JudgedAttempt {
  return {
    verdict: { kind: 'answered', answer: { kind: 'body', body, completion }, firstByteAtMs: undefined },
    reported: { kind: 'status', status },
    label: String(status),
  };
}

function undone(outcome: AttemptOutcome, facts: AttemptFacts, body?: Buffer): JudgedAttempt {
  const decision = decideAttempt(outcome, { ...facts, firstByteSent: facts.isOpened });
  const label = outcome.kind === 'status' ? String(outcome.status) : outcome.failure;
  if (decision.action === 'retry_next') {
    return { verdict: { kind: 'retry', refusal: decision.refusal }, reported: outcome, label };
  }
  const refusal = decision.action === 'reject' ? decision.refusal : refuse('UPSTREAM_ERROR');
  const explained = body && refusal.code === 'UPSTREAM_REJECTED' ? explain(refusal, body, facts) : refusal;
  return { verdict: { kind: 'rejected', refusal: explained }, reported: outcome, label };
}

/** A field of a translated request is none of the client's: its name would lead astray. */
function explain(refusal: Refusal, body: Buffer, { target, model, isTranslated }: AttemptFacts): Refusal {
  const { param, ...explained } = withUpstreamMessage(refusal, body, target, model);
  return param === undefined || isTranslated ? explained : { ...explained, param };
}
