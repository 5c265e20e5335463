import { Inject, Injectable } from '@nestjs/common';
import { type Refusal, refuse } from '../kernel/errors';
import { isCallersFault } from '../routing/attempt-policy';
import { withUpstreamMessage } from '../routing/upstream-message';
import type { RoutableUpstream } from '../upstreams/upstream-directory';
import {
  type ProviderKind,
  type Upstream,
  type UpstreamCall,
  type UpstreamReader,
  type UpstreamRequest,
  UPSTREAMS,
} from '../upstreams/upstream.port';
import { credibleCount } from './dialects/credible-count';
import { parseObject } from './dialects/json-value';

/** From asking to the whole answer: counting is quick, and there is another way. */
const ANSWER_WITHIN_MS = 5_000;
const MAX_ANSWER_BYTES = 65_536;
/** Of providers that speak the dialect and do not count. */
const NOT_OFFERED = new Set([404, 405, 410]);

/** What a provider says of a request: its answer as it came, a refusal of the request, or undefined: nothing of use. */
export type ProvidersCount = Buffer | Refusal | undefined;

/**
 * Asks a provider how many tokens a request is. Routing hears nothing of it: who counts badly may answer well, and counting
 * has limits of its own.
 */
@Injectable()
export class CountedByProvider {
  constructor(@Inject(UPSTREAMS) private readonly upstreams: ReadonlyMap<ProviderKind, Upstream>) {}

  /** @param model as the client named it */
  async ask({ target, kind }: RoutableUpstream, request: UpstreamRequest, model: string): Promise<ProvidersCount> {
    const adapter = this.upstreams.get(kind);
    if (!adapter) throw new Error(`no adapter for providers of kind ${kind}`);
    const answer = await new Promise<WholeAnswer | undefined>((resolve) => {
      const reader = new AnswerReader(resolve);
      reader.attach(adapter.start(target, request, reader));
    });
    if (!answer) return undefined;
    const { status, body } = answer;
    if (status >= 200 && status < 300) {
      return credibleCount(parseObject(body.toString('utf8'))?.input_tokens) === undefined ? undefined : body;
    }
    if (!isCallersFault(status) || NOT_OFFERED.has(status)) return undefined;
    return withUpstreamMessage(refuse('UPSTREAM_REJECTED', { status }), body, target, model);
  }
}

interface WholeAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/** A small answer, whole and in time, or none. */
class AnswerReader implements UpstreamReader {
  private readonly chunks: Buffer[] = [];
  private status = 0;
  private bytes = 0;
  private call: UpstreamCall | undefined;
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly resolve: (answer: WholeAnswer | undefined) => void) {
    this.timer = setTimeout(() => {
      this.giveUp();
    }, ANSWER_WITHIN_MS);
  }

  attach(call: UpstreamCall): void {
    this.call = call;
  }

  onHeaders(status: number): void {
    this.status = status;
  }

  onData(chunk: Buffer): void {
    this.bytes += chunk.length;
    if (this.bytes > MAX_ANSWER_BYTES) this.giveUp();
    else this.chunks.push(chunk);
  }

  onEnd(): void {
    this.conclude({ status: this.status, body: Buffer.concat(this.chunks) });
  }

  onFailure(): void {
    this.conclude(undefined);
  }

  private giveUp(): void {
    this.call?.abort();
    this.conclude(undefined);
  }

  private conclude(answer: WholeAnswer | undefined): void {
    clearTimeout(this.timer);
    this.resolve(answer);
  }
}
