import type { Clock } from '../kernel/clock';
import { HttpCall } from './http-call';
import type { UpstreamPools } from './upstream-pools';
import type { Upstream, UpstreamCall, UpstreamReader, UpstreamRequest, UpstreamTarget } from './upstream.port';

/** What is of a provider kind; everything else of an exchange over HTTP is the same for all. */
export interface ProviderManners {
  /** Header of the credentials and its value. */
  readonly credentials: (apiKey: string) => readonly [name: string, value: string];
  /** Where the API begins, of the base URL's path without trailing slashes. */
  readonly basePath: (path: string) => string;
  /** Sent unless the request brings its own; names in lower case. */
  readonly defaultHeaders: readonly (readonly [name: string, value: string])[];
}

/** What every call to one target has in common; targets live as long as the directory's snapshot. */
interface PreparedTarget {
  readonly origin: string;
  readonly basePath: string;
  /** Name, value, name, value, … as undici takes it. */
  readonly headers: readonly string[];
}

/**
 * Never taken from the caller of start(): hop-by-hop headers, those undici writes, and those an adapter owns.
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

/** JSON in, JSON or server-sent events out, over pooled HTTP/1.1 connections. */
export class HttpUpstream implements Upstream {
  private readonly prepared = new WeakMap<UpstreamTarget, PreparedTarget>();

  constructor(
    private readonly manners: ProviderManners,
    private readonly pools: UpstreamPools,
    private readonly clock: Clock,
  ) {}

  start(target: UpstreamTarget, request: UpstreamRequest, reader: UpstreamReader): UpstreamCall {
    const prepared = this.prepared.get(target) ?? this.prepare(target);
    const lease = this.pools.acquire(target.providerId, prepared.origin);
    if (!lease) return refusedCall(reader);
    const call = new HttpCall(reader, target.deadlines, this.clock, lease);
    return call.start(prepared.basePath + request.path, this.headersOf(prepared, request), request.body);
  }

  private headersOf(prepared: PreparedTarget, request: UpstreamRequest): string[] {
    const headers = prepared.headers.slice();
    let missing = this.manners.defaultHeaders;
    for (const name in request.headers) {
      const value = request.headers[name];
      const folded = name.toLowerCase();
      if (value === undefined || NOT_FORWARDED.has(folded)) continue;
      headers.push(name, value);
      if (missing.length > 0) missing = missing.filter(([of]) => of !== folded);
    }
    for (const [name, value] of missing) headers.push(name, value);
    return headers;
  }

  private prepare(target: UpstreamTarget): PreparedTarget {
    const url = new URL(target.baseUrl);
    const prepared: PreparedTarget = {
      origin: url.origin,
      basePath: this.manners.basePath(url.pathname.replace(/\/+$/, '')),
      headers: [
        ...['content-type', 'application/json'],
        ...['accept-encoding', 'identity'],
        ...['user-agent', 'tollgate'],
        ...this.manners.credentials(target.apiKey),
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
