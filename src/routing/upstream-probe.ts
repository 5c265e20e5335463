import { Inject, Injectable } from '@nestjs/common';
import { CLOCK, type Clock } from '../kernel/clock';
import { refuse } from '../kernel/errors';
import { DIALECT_PATHS } from '../upstreams/dialect-paths';
import { StoredTarget } from '../upstreams/stored-target';
import { type RoutableUpstream, UpstreamDirectory } from '../upstreams/upstream-directory';
import {
  type ApiDialect,
  type ProviderKind,
  type Upstream,
  type UpstreamCall,
  type UpstreamFailure,
  type UpstreamReader,
  UPSTREAMS,
  type UpstreamTarget,
} from '../upstreams/upstream.port';
import { withUpstreamMessage } from './upstream-message';

export interface ProbeResult {
  readonly isOk: boolean;
  /** Null where no headers came. */
  readonly status: number | null;
  readonly latencyMs: number;
  readonly dialect: ApiDialect;
  /** In the provider's own words, without what names our account; or how the call failed. Undefined for one that is well. */
  readonly error: string | undefined;
}

/** Whoever asks waits for it. */
const LONGEST_MS = 30_000;
const MAX_BODY_BYTES = 65_536;

/**
 * One real call of one upstream, the smallest there is: a word, one token of answer. It is not routed, reserved, charged
 * or logged as a call, and neither breaker nor cool-down hear of it; the provider charges what two tokens cost.
 */
@Injectable()
export class UpstreamProbe {
  constructor(
    private readonly directory: UpstreamDirectory,
    @Inject(UPSTREAMS) private readonly upstreams: ReadonlyMap<ProviderKind, Upstream>,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** Also of a disabled upstream; undefined where there is none. Rejects where its provider's key does not open. */
  async test(upstreamId: string): Promise<ProbeResult | undefined> {
    const upstream = await this.directory.readOne(upstreamId);
    if (!upstream) return undefined;
    const adapter = this.upstreams.get(upstream.kind);
    const [dialect] = upstream.dialects;
    if (!adapter || !dialect) throw new Error(`no adapter for providers of kind ${upstream.kind}`);
    const { target } = upstream;
    const startedMs = this.clock.monotonicMs();
    const reader = new ProbeReader();
    const request = {
      path: DIALECT_PATHS[dialect],
      body: Buffer.from(JSON.stringify(bodyOf(dialect, upstream))),
      headers: {},
    };
    reader.attach(adapter.start(impatient(target), request, reader));
    const { status, body, failure } = await reader.ended;
    const isOk = failure === undefined && status !== null && status >= 200 && status < 300;
    const latencyMs = Math.round(this.clock.monotonicMs() - startedMs);
    return { isOk, status, latencyMs, dialect, error: isOk ? undefined : (failure?.kind ?? wordsOf(body, target)) };
  }
}

/** What the provider says, or nothing where it says nothing that can be read. */
function wordsOf(body: Buffer, target: UpstreamTarget): string {
  const { values } = withUpstreamMessage(refuse('UPSTREAM_REJECTED'), body, target, target.upstreamModel);
  return String(values?.message ?? 'the answer does not say why');
}

function bodyOf(dialect: ApiDialect, { target, dialects }: RoutableUpstream): object {
  const model = target.upstreamModel;
  const messages = [{ role: 'user', content: 'ping' }];
  switch (dialect) {
    case 'openai-chat':
      // Whoever speaks Responses is OpenAI itself, whose newer models know only the newer name.
      return { model, messages, [dialects.includes('openai-responses') ? 'max_completion_tokens' : 'max_tokens']: 1 };
    case 'openai-responses':
      // The least that it takes.
      return { model, input: 'ping', max_output_tokens: 16, store: false };
    case 'anthropic-messages':
      return { model, messages, max_tokens: 1 };
    case 'openai-embeddings':
      return { model, input: 'ping' };
  }
}

function impatient(target: UpstreamTarget): UpstreamTarget {
  const { firstByteMs, idleMs } = target.deadlines;
  const deadlines = {
    firstByteMs: Math.min(firstByteMs, LONGEST_MS),
    idleMs: Math.min(idleMs, LONGEST_MS),
    totalMs: LONGEST_MS,
  };
  const { upstreamId, upstreamName, providerId, providerName, baseUrl, upstreamModel, apiKey } = target;
  const place = { upstreamId, upstreamName, providerId, providerName, baseUrl, upstreamModel, deadlines };
  return new StoredTarget(place, apiKey);
}

interface Ended {
  readonly status: number | null;
  readonly body: Buffer;
  readonly failure: UpstreamFailure | undefined;
}

/** Collects the beginning of one answer; of a longer one, which nobody asked for, the rest is not waited for. */
class ProbeReader implements UpstreamReader {
  private readonly outcome = Promise.withResolvers<Ended>();
  private readonly chunks: Buffer[] = [];
  private bytes = 0;
  private status: number | null = null;
  private call: UpstreamCall | undefined;

  get ended(): Promise<Ended> {
    return this.outcome.promise;
  }

  attach(call: UpstreamCall): void {
    this.call = call;
  }

  onHeaders(status: number): void {
    this.status = status;
  }

  onData(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.bytes += chunk.length;
    if (this.bytes <= MAX_BODY_BYTES) return;
    this.call?.abort();
    this.onEnd();
  }

  onEnd(): void {
    this.end(undefined);
  }

  onFailure(failure: UpstreamFailure): void {
    this.end(failure);
  }

  private end(failure: UpstreamFailure | undefined): void {
    this.outcome.resolve({ status: this.status, body: Buffer.concat(this.chunks), failure });
  }
}
