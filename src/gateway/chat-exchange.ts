import type { FastifyReply, FastifyRequest } from 'fastify';
import type { OutgoingHttpHeaders } from 'node:http';
import type { Principal } from '../auth/principal';
import { IDEMPOTENCY_HEADER, type Replay } from '../billing/idempotency/key-claim';
import type { Clock } from '../kernel/clock';
import type { Refusal } from '../kernel/errors';
import { toDecimalUsd } from '../kernel/money';
import { localeOf } from '../platform/i18n/render-message';
import { renderError, renderErrorEvent } from './errors/render-error';
import type { RefusedRequest } from './errors/rendered-error';
import { openAiRateLimitHeaders, rateLimitsOf } from './rate-limit-headers';
import { NodeStreamClient } from './stream/stream-client';
import { STREAM_HEAD } from './stream/stream-head';
import { costComment, costHeaders } from './told-cost';
import { WorkflowContext } from './workflow/workflow.context';

/** One HTTP exchange: what the client gets, whole or streamed, and in which headers. */
export class ChatExchange {
  readonly receivedAtMs: number;
  readonly receivedMonotonicMs: number;
  readonly client: NodeStreamClient;
  private context: WorkflowContext | undefined;

  constructor(
    private readonly request: FastifyRequest,
    private readonly reply: FastifyReply,
    private readonly clock: Clock,
  ) {
    this.receivedAtMs = clock.nowMs();
    this.receivedMonotonicMs = clock.monotonicMs();
    this.client = new NodeStreamClient(reply.raw, () => this.openStream());
  }

  /** A context for one run of the workflow; from here on headers may tell what it knows. */
  begin(principal: Principal, route: string): WorkflowContext {
    const rawBody: unknown = this.request.body;
    this.context = new WorkflowContext({
      traceId: this.request.id,
      clientRequestId: clientRequestId(this.request),
      channel: 'external',
      route,
      dialect: 'openai-chat',
      receivedAtMs: this.receivedAtMs,
      receivedMonotonicMs: this.receivedMonotonicMs,
      principal,
      rawBody: Buffer.isBuffer(rawBody) ? rawBody : Buffer.alloc(0),
      idempotencyKey: headerOf(this.request, IDEMPOTENCY_HEADER),
      client: this.client,
      upstreamHeaders: {},
      upstreamQuery: '',
      renderErrorEvent: (refusal) => this.renderErrorEvent(refusal),
    });
    return this.context;
  }

  /** The error event of a stream that cannot be ended well. */
  private renderErrorEvent(refusal: Refusal): string {
    return renderErrorEvent('openai-chat', refusal, this.refused);
  }

  refuse(refusal: Refusal): void {
    const { status, headers, body } = renderError('openai', refusal, this.refused);
    const limits = this.context ? this.limitHeadersOf(this.context) : {};
    void this.reply
      .status(status)
      .headers({ ...limits, ...headers })
      .send(body);
  }

  /** The last word: the whole body, the terminal frame, an error event, or an error with its status. */
  conclude(context: WorkflowContext, refusal: Refusal | undefined): void {
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
        'openai-processing-ms': this.processingMs,
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
      'x-request-id': this.request.id,
      ...(typeof connection === 'string' ? { connection } : {}),
      ...STREAM_HEAD,
      ...(this.context ? this.headersOf(this.context) : {}),
    };
  }

  private headersOf(context: WorkflowContext): Record<string, string> {
    const headers: Record<string, string> = { 'openai-processing-ms': this.processingMs };
    const upstream = context.respondingUpstream;
    if (upstream !== undefined) headers['x-tollgate-upstream'] = upstream;
    return { ...headers, ...this.limitHeadersOf(context) };
  }

  private get processingMs(): string {
    return String(Math.round(this.clock.monotonicMs() - this.receivedMonotonicMs));
  }

  /** As they were when the call was admitted; of one that was not, its refusal tells. */
  private limitHeadersOf(context: WorkflowContext): Readonly<Record<string, string>> {
    if (!context.has('quotaCheck')) return {};
    const { charge, limits } = context.quotaCheck;
    return openAiRateLimitHeaders(rateLimitsOf(charge.held.counted, limits), this.clock.nowMs());
  }

  private get refused(): RefusedRequest {
    return {
      locale: localeOf(this.request.headers['accept-language']),
      nowMs: this.clock.nowMs(),
      requestId: this.request.id,
    };
  }
}

function headerOf(request: FastifyRequest, name: string): string | undefined {
  const header = request.headers[name.toLowerCase()];
  return Array.isArray(header) ? header.join(', ') : header;
}

/** The client's own name for the request: kept for the log, used for nothing else. */
function clientRequestId(request: FastifyRequest): string | undefined {
  const header = request.headers['x-request-id'];
  return typeof header === 'string' && header.length <= 200 ? header : undefined;
}
