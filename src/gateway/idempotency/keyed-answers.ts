import { Injectable } from '@nestjs/common';
import { IdempotencyKeys } from '../../billing/idempotency/idempotency-keys';
import { type AnswerTail, type KeptAnswer, MAX_KEPT_BYTES } from '../../billing/idempotency/kept-answer';
import { type Refusal, refuse, refusalStatus } from '../../kernel/errors';
import { AnswerCopy } from '../stream/answer-copy';
import { STREAM_HEAD } from '../stream/stream-head';
import { costComment, costHeaders } from '../told-cost';
import { servedHeaders } from '../told-headers';
import type { WorkflowContext } from '../workflow/workflow.context';
import { ANSWERED, type StepOutcome } from '../workflow/workflow-step';

const NOTHING = Buffer.alloc(0);
const JSON_TYPE = 'application/json';

/**
 * What an inference call with an Idempotency-Key does with it: claims it, keeps what its client is about to get, and says at
 * the end whether it was charged. Nothing here knows a route.
 */
@Injectable()
export class KeyedAnswers {
  constructor(private readonly keys: IdempotencyKeys) {}

  async claim(context: WorkflowContext, key: string): Promise<StepOutcome> {
    const { principal, traceId, route, rawBody, client } = context.request;
    const { apiKeyId, tenantId } = principal;
    const outcome = await this.keys.claim({ apiKeyId, tenantId, traceId, key, route, body: rawBody });
    switch (outcome.kind) {
      case 'refused':
        return outcome.refusal;
      case 'replay':
        context.replay = outcome.replay;
        return ANSWERED;
      case 'claimed':
        context.idempotency = { claim: outcome.claim, copy: new AnswerCopy(MAX_KEPT_BYTES) };
        client.copyTo(context.idempotency.copy);
        return undefined;
    }
  }

  /** Before the settle. What nothing is owed for is not kept. */
  async keep(context: WorkflowContext): Promise<undefined> {
    if (context.responseTransform.isFree) return;
    await this.keys.keep(context.idempotency.claim, answerOf(context));
  }

  /**
   * At the end, before the client gets its last byte. A call that is charged, or will be as soon as Postgres takes it, keeps
   * its key, also where its client is told an error: never would a second charge stand beside the first. Any other one frees
   * it, once the end of its charge stands.
   */
  async conclude(context: WorkflowContext): Promise<void> {
    if (!context.has('idempotency')) return;
    const { claim } = context.idempotency;
    if (!context.has('billing') || context.responseTransform.isFree) {
      await this.keys.free(claim, context.has('quotaCheck') ? context.quotaCheck.charge.whenEnded() : undefined);
      return;
    }
    const isTailKept = await this.keys.answered(claim, tailOf(context));
    // What no repeat could tell is not told: each of them is the same, byte for byte.
    if (!isTailKept) context.billing = { ...context.billing, charged: undefined };
  }
}

/** Undefined where it is more than may be kept. */
function answerOf(context: WorkflowContext): KeptAnswer | undefined {
  const { answer } = context.upstreamCall;
  const { body, streamRefusal, tokens } = context.responseTransform;
  const { client } = context.request;
  const headers = servedHeaders(context);
  if (answer.kind === 'body') {
    const whole = { ...headers, 'content-type': JSON_TYPE };
    return { status: 200, headers: whole, body: body ?? NOTHING, ending: NOTHING };
  }
  if (streamRefusal && !client.isOpened && !client.isGone) {
    const error = Buffer.from(context.request.renderErrorBody(streamRefusal));
    const status = refusalStatus(streamRefusal);
    // It stays what it is, however often it is asked for.
    const told = { ...headers, 'content-type': JSON_TYPE, 'x-should-retry': 'false' };
    return { status, headers: told, body: error, ending: NOTHING };
  }
  const { bytes } = context.idempotency.copy;
  if (!bytes) return undefined;
  const error = refusalOfEnding(context);
  const ending = error ? answer.pump.errorBytes(error) : answer.pump.lastBytes(undefined, tokens);
  return { status: 200, headers: { ...headers, ...STREAM_HEAD }, body: bytes, ending };
}

/** A part of an answer never ends like a whole one, for whoever reads it later. */
function refusalOfEnding({ responseTransform }: WorkflowContext): Refusal | undefined {
  const { streamRefusal, endReason } = responseTransform;
  return streamRefusal ?? (endReason === 'client_left' ? refuse('CLIENT_CLOSED_REQUEST') : undefined);
}

/** What the settle has made known; undefined where nothing of it is told. */
function tailOf(context: WorkflowContext): AnswerTail | undefined {
  const { charged } = context.billing;
  const { answer } = context.upstreamCall;
  if (!charged) return undefined;
  if (answer.kind === 'body') return { headers: costHeaders(charged), ending: NOTHING };
  if (refusalOfEnding(context)) return undefined;
  return { headers: {}, ending: answer.pump.lastBytes(costComment(charged), context.responseTransform.tokens) };
}
