import { Inject, Injectable } from '@nestjs/common';
import { CLOCK, type Clock } from '../../kernel/clock';
import { HttpCall } from '../http-call';
import { UpstreamPools } from '../upstream-pools';
import type { Upstream, UpstreamCall, UpstreamReader, UpstreamRequest, UpstreamTarget } from '../upstream.port';

/** What every call to one target has in common; targets live as long as the directory's snapshot. */
interface PreparedTarget {
  readonly origin: string;
  readonly basePath: string;
  /** Name, value, name, value, … as undici takes it. */
  readonly headers: readonly string[];
}

/**
 * Never taken from the caller of start(): hop-by-hop headers, those undici writes, and those this adapter owns.
 * An answer must not be compressed, since usage is read from its bytes as they pass.
 */
const NOT_FORWARDED = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'host',
  'content-length',
  'content-type',
  'accept-encoding',
  'authorization',
  'x-api-key',
  'api-key',
  'cookie',
  'user-agent',
]);

/** OpenAI and everything that speaks its protocol: bearer key, JSON in, JSON or server-sent events out. */
@Injectable()
export class OpenAiUpstream implements Upstream {
  private readonly prepared = new WeakMap<UpstreamTarget, PreparedTarget>();

  constructor(
    private readonly pools: UpstreamPools,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  start(target: UpstreamTarget, request: UpstreamRequest, reader: UpstreamReader): UpstreamCall {
    const prepared = this.prepared.get(target) ?? this.prepare(target);
    const lease = this.pools.acquire(target.providerId, prepared.origin);
    if (!lease) return refusedCall(reader);
    const headers = prepared.headers.slice();
    for (const name in request.headers) {
      const value = request.headers[name];
      if (value !== undefined && !NOT_FORWARDED.has(name.toLowerCase())) headers.push(name, value);
    }
    const call = new HttpCall(reader, target.deadlines, this.clock, lease);
    return call.start(prepared.basePath + request.path, headers, request.body);
  }

  private prepare(target: UpstreamTarget): PreparedTarget {
    const url = new URL(target.baseUrl);
    const prepared: PreparedTarget = {
      origin: url.origin,
      basePath: url.pathname.replace(/\/+$/, ''),
      headers: [
        ...['content-type', 'application/json'],
        ...['accept-encoding', 'identity'],
        ...['user-agent', 'tollgate'],
        ...['authorization', `Bearer ${target.apiKey}`],
      ],
    };
    this.prepared.set(target, prepared);
    return prepared;
  }
}

/** A call that never had a connection. Like every failure, it is told only after start() has returned. */
function refusedCall(reader: UpstreamReader): UpstreamCall {
  let isAborted = false;
  queueMicrotask(() => {
    if (!isAborted) reader.onFailure({ kind: 'connect', message: 'every connection of the provider is taken' });
  });
  return {
    pause: () => undefined,
    resume: () => undefined,
    abort: () => {
      isAborted = true;
    },
  };
}
