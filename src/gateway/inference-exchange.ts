import type { FastifyReply, FastifyRequest } from 'fastify';
import type { OutgoingHttpHeaders } from 'node:http';
import type { Principal } from '../auth/principal';
import { IDEMPOTENCY_HEADER, type Replay } from '../billing/idempotency/key-claim';
import type { Clock } from '../kernel/clock';
import { type Refusal, RefusalError } from '../kernel/errors';
import { toDecimalUsd } from '../kernel/money';
import { localeOf } from '../platform/i18n/render-message';
import { REGION_HEADER } from '../routing/region';
import { MAX_NAME_LENGTH } from './dialects/field-checks';
import { ERROR_DIALECTS, renderError, renderErrorEvent } from './errors/render-error';
import type { RefusedRequest, RenderedError } from './errors/rendered-error';
import { forwardedOf, headerOf } from './http/forwarded';
import type { InferenceRoute } from './inference-route';
import { NodeStreamClient } from './stream/stream-client';
import { STREAM_HEAD } from './stream/stream-head';
import { costComment, costHeaders } from './told-cost';
import { idHeaders, limitHeaders, processingHeaders, servedHeaders } from './told-headers';
import { WorkflowContext } from './workflow/workflow.context';

export interface StandInRun {
  readonly traceId: string;
  readonly model: string;
}

/** One HTTP exchange of any dialect: what the client gets, whole or streamed, and in which headers. */
export class InferenceExchange {
  readonly receivedAtMs: number;
  readonly receivedMonotonicMs: number;
  readonly client: NodeStreamClient;
  private context: WorkflowContext | undefined;

  constructor(
    private readonly request: FastifyRequest,
    private readonly reply: FastifyReply,
    private readonly clock: Clock,
    private readonly route: InferenceRoute,
  ) {
    this.receivedAtMs = clock.nowMs();
    this.receivedMonotonicMs = clock.monotonicMs();
    this.client = new NodeStreamClient(reply.raw, () => this.openStream());
  }

  /**
   * A context for one run of the workflow; from here on headers may tell what it knows.
   * @param again another run for the same request: under an id of its own, with a model that stands in
   */
  begin(principal: Principal, again?: StandInRun): WorkflowContext {
    const { request, route } = this;
    const forwarded = forwardedOf(request, route.dialect);
    if ('code' in forwarded) throw new RefusalError(forwarded);
    const rawBody: unknown = request.body;
    this.context = new WorkflowContext({
      traceId: again?.traceId ?? request.id,
      standIn: again?.model,
      clientRequestId: clientRequestId(request),
      channel: 'external',
      route: route.path,
      dialect: route.dialect,
      receivedAtMs: this.receivedAtMs,
      receivedMonotonicMs: this.receivedMonotonicMs,
      principal,
      rawBody: Buffer.isBuffer(rawBody) ? rawBody : Buffer.alloc(0),
      idempotencyKey: headerOf(request, IDEMPOTENCY_HEADER),
      region: headerOf(request, REGION_HEADER),
      client: this.client,
      upstreamHeaders: forwarded.headers,
      upstreamQuery: forwarded.query,
      sessionId: sessionId(request),
      renderErrorEvent: (refusal) => renderErrorEvent(route.dialect, refusal, this.refused),
      renderErrorBody: (refusal) => JSON.stringify(this.render(refusal).body),
    });
    return this.context;
  }

  refuse(refusal: Refusal): void {
    const { status, headers, body } = this.render(refusal);
    const limits = this.context ? limitHeaders(this.context, this.clock.nowMs()) : {};
    void this.reply
      .status(status)
      .headers({ ...limits, ...headers })
      .send(body);
  }

  /** The last word: the whole body, the terminal frame, an error event, or an error with its status. */
  conclude(context: WorkflowContext, refusal: Refusal | undefined): void {
    this.context = context;
    if (!this.client.isOpened) void this.reply.headers(idHeaders(this.route.dialect, context.request.traceId));
    if (refusal) {
      this.concludeRefused(context, refusal);
      return;
    }
    if (context.replay) {
      this.replay(context.replay);
      return;
    }
    const { answer } = context.upstreamCall;
    const { body, streamRefusal, tokens } = context.responseTransform;
    const { charged } = context.billing;
    if (answer.kind === 'stream') {
      if (streamRefusal && !this.client.isOpened) this.refuse(streamRefusal);
      else if (streamRefusal) answer.pump.fail(streamRefusal);
      else if (!this.client.isGone) answer.pump.finish(charged ? costComment(charged) : undefined, tokens);
    } else if (body && !this.client.isGone) {
      const headers = { ...this.headersOf(context), ...(charged ? costHeaders(charged) : {}) };
      void this.reply.status(200).headers(headers).type('application/json').send(body);
    }
  }

  private concludeRefused(context: WorkflowContext, refusal: Refusal): void {
    if (this.client.isGone) return;
    if (!this.client.isOpened) this.refuse(refusal);
    else if (context.has('upstreamCall') && context.upstreamCall.answer.kind === 'stream') {
      context.upstreamCall.answer.pump.fail(refusal);
    } else this.client.destroy();
  }

  /** The very bytes of the first answer. A limit that did not count the call is not told either. */
  private replay({ answer, traceId, amount }: Replay): void {
    const { 'content-type': contentType, ...headers } = answer.headers;
    void this.reply
      .status(answer.status)
      .headers({
        ...processingHeaders(this.route.dialect, this.clock.monotonicMs() - this.receivedMonotonicMs),
        'x-tollgate-cost-usd': toDecimalUsd(amount),
        ...headers,
        'idempotent-replayed': 'true',
        'x-tollgate-original-request-id': traceId,
      })
      .type(contentType ?? 'application/octet-stream')
      .send(Buffer.concat([answer.body, answer.ending]));
  }

  private openStream(): OutgoingHttpHeaders {
    // What the edge set on the reply is lost by hijacking: it is copied.
    const connection = this.reply.getHeader('connection');
    this.reply.hijack();
    return {
      ...idHeaders(this.route.dialect, this.context?.request.traceId ?? this.request.id),
      ...(typeof connection === 'string' ? { connection } : {}),
      ...STREAM_HEAD,
      ...(this.context ? this.headersOf(this.context) : {}),
    };
  }

  private headersOf(context: WorkflowContext): Record<string, string> {
    return {
      ...processingHeaders(this.route.dialect, this.clock.monotonicMs() - this.receivedMonotonicMs),
      ...servedHeaders(context),
      ...limitHeaders(context, this.clock.nowMs()),
    };
  }

  private render(refusal: Refusal): RenderedError {
    return renderError(ERROR_DIALECTS[this.route.dialect], refusal, this.refused);
  }

  private get refused(): RefusedRequest {
    return {
      locale: localeOf(this.request.headers['accept-language']),
      nowMs: this.clock.nowMs(),
      requestId: this.context?.request.traceId ?? this.request.id,
    };
  }
}

/** Which conversation the client says this is; what cannot be a name is none. */
function sessionId(request: FastifyRequest): string | undefined {
  const header = request.headers['x-session-id'];
  const isName = typeof header === 'string' && header !== '' && header.length <= MAX_NAME_LENGTH;
  return isName ? header : undefined;
}

/** The client's own name for the request: kept for the log, used for nothing else. */
function clientRequestId(request: FastifyRequest): string | undefined {
  const header = request.headers['x-request-id'];
  return typeof header === 'string' && header.length <= 200 ? header : undefined;
}
