/**
 * How the gateway talks to an LLM provider. One folder a provider kind implements it. Callback style rather than
 * streams: this is the hot path, and pause/resume is all the backpressure a pump needs.
 */
export interface UpstreamTarget {
  readonly upstreamId: string;
  readonly upstreamName: string;
  readonly providerId: string;
  readonly providerName: string;
  /** Absolute, checked by base-url-policy when it was saved; without trailing slash, such as `https://api.openai.com/v1`. */
  readonly baseUrl: string;
  /** Decrypted; never logged. */
  readonly apiKey: string;
  /** The provider's own name of the model. */
  readonly upstreamModel: string;
  readonly deadlines: UpstreamDeadlines;
}

export interface UpstreamDeadlines {
  /** From dispatch to the first byte of the response body (or the end of the headers for an empty body). */
  readonly firstByteMs: number;
  /** Longest silence between two chunks. Time for which the call is paused by the reader does not count. */
  readonly idleMs: number;
  /** From dispatch to the end of the body. */
  readonly totalMs: number;
}

export interface UpstreamRequest {
  /** Below the base URL, with leading slash: `/chat/completions`. */
  readonly path: string;
  readonly body: Buffer;
  /** Sent beside the adapter's own content-type and authorisation; those and hop-by-hop headers are left out. */
  readonly headers: Readonly<Record<string, string>>;
}

export type UpstreamFailureKind =
  /** No connection: refused, DNS, TLS, or the pool is full. Nothing was sent. */
  | 'connect'
  /** The resolved address is private and this deployment does not allow it (SSRF). */
  | 'blocked_address'
  | 'first_byte_timeout'
  | 'idle_timeout'
  | 'total_timeout'
  /** The connection broke after the request was sent, or the response was not HTTP. */
  | 'reset';

export interface UpstreamFailure {
  readonly kind: UpstreamFailureKind;
  /** For logs; never shown to a tenant. */
  readonly message: string;
}

/**
 * Receives one response. After onEnd or onFailure nothing else is called; after abort() nothing at all. Nothing is
 * called before start() has returned. A callback that throws fails its call; onFailure must not throw.
 */
export interface UpstreamReader {
  /** Once; also for redirects (never followed) and errors. Hop-by-hop headers are among them: do not pass them on blindly. */
  onHeaders(status: number, headers: Readonly<Record<string, string | string[] | undefined>>): void;
  /** A piece of the body, as it came from the socket and yours to keep; any length, cut anywhere. The caller bounds the sum. */
  onData(chunk: Buffer): void;
  onEnd(): void;
  onFailure(failure: UpstreamFailure): void;
}

export interface UpstreamCall {
  /** From within onHeaders or onData it holds at once; called from elsewhere one more piece may still come. */
  pause(): void;
  resume(): void;
  /** Ends the call and its connection at once. The reader hears nothing more. Idempotent. */
  abort(): void;
}

export interface Upstream {
  start(target: UpstreamTarget, request: UpstreamRequest, reader: UpstreamReader): UpstreamCall;
}

/** DI token: `ReadonlyMap<ProviderKind, Upstream>`. */
export const UPSTREAMS = Symbol('Upstreams');
/** How a provider is called: with which credentials, below which path. What it is told there is a dialect. */
export type ProviderKind = 'openai' | 'anthropic';

/** The API dialects of the field: what clients speak to the gateway, and the gateway to providers. */
export type ApiDialect = 'openai-chat' | 'openai-responses' | 'anthropic-messages' | 'openai-embeddings';
