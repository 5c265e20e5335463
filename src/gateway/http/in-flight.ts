import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { refuse } from '../../kernel/errors';
import type { Drain } from '../../platform/http/drain';
import { sendRefusal } from '../errors/send-refusal';

declare module 'fastify' {
  interface FastifyRequest {
    /** Null for what operators ask, and outside a gateway that counts. */
    inFlight: InFlight | null;
  }
}

/** When a client that was refused on the way out should come again: another process takes it at once. */
const SHUTTING_DOWN = refuse('SHUTTING_DOWN', { retryAfterMs: 1_000 });

/** One request as the drain counts it: from its head on until its answer is decided or its connection is gone. */
class InFlight {
  private isHandlers = false;

  constructor(
    private readonly request: FastifyRequest,
    private readonly reply: FastifyReply,
    private readonly leave: () => void,
  ) {}

  readonly answered = (): void => {
    if (!this.isHandlers) this.leave();
  };

  /** From here on only what is returned counts it out. */
  handOver(): () => void {
    this.isHandlers = true;
    return this.leave;
  }

  /** The time for running requests is over: one whose body is still coming has not begun, and will not. */
  cut(): void {
    if (this.isHandlers || this.reply.sent || this.request.raw.complete) return;
    this.reply.header('connection', 'close');
    sendRefusal(SHUTTING_DOWN, this.request, this.reply);
  }
}

/**
 * Every request is in flight before its body is read, so that the way out of service loses none: one that is on its way
 * is finished or told to come again. While the process leaves connections end with their answer; at last new requests
 * are refused.
 */
export function countInFlight(fastify: FastifyInstance, drain: Drain): void {
  const running = new Set<InFlight>();
  fastify.decorateRequest('inFlight', null);
  drain.onDeadline(() => {
    for (const request of running) request.cut();
  });
  fastify.addHook('onRequest', (request, reply, done) => {
    if (drain.isDraining) reply.header('connection', 'close');
    if (isForOperators(request.url)) {
      done();
      return;
    }
    if (drain.refusesNew) {
      sendRefusal(SHUTTING_DOWN, request, reply);
      return;
    }
    const countOut = drain.enter();
    const inFlight = new InFlight(request, reply, () => {
      running.delete(inFlight);
      countOut();
    });
    running.add(inFlight);
    request.inFlight = inFlight;
    reply.raw.on('close', inFlight.answered);
    done();
  });
  fastify.addHook('onSend', (request, _reply, _payload, done) => {
    request.inFlight?.answered();
    done();
  });
}

/** For a handler whose work is not over with its answer: it calls what is returned once it is. */
export function outlastsAnswer({ inFlight }: FastifyRequest): () => void {
  return inFlight === null ? () => undefined : inFlight.handOver();
}

function isForOperators(url: string): boolean {
  return url.startsWith('/health') || url.startsWith('/metrics');
}
