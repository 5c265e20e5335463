import type { FastifyRequest } from 'fastify';
import { type Refusal, refuse } from '../../kernel/errors';
import type { ApiDialect } from '../../upstreams/upstream.port';

/** What a client says beside its body to a provider of its own dialect. */
export interface Forwarded {
  readonly headers: Readonly<Record<string, string>>;
  /** With its question mark, or empty. */
  readonly query: string;
}

const OPENAI_HEADERS = ['openai-beta'];
const FORWARDED_HEADERS: Readonly<Record<ApiDialect, readonly string[]>> = {
  'openai-chat': OPENAI_HEADERS,
  'openai-responses': OPENAI_HEADERS,
  'openai-embeddings': OPENAI_HEADERS,
  'anthropic-messages': ['anthropic-version', 'anthropic-beta'],
};
/** Some twenty names of betas. */
const CLEAN = /^[\x20-\x7e]{1,2000}$/;
const BETA_QUERY = '?beta=true';
const NOTHING: Forwarded = { headers: {}, query: '' };

/** A refusal names the header that cannot be forwarded: a provider that does not hear of a beta answers something else. */
export function forwardedOf(request: FastifyRequest, dialect: ApiDialect): Forwarded | Refusal {
  let headers: Record<string, string> | undefined;
  for (const name of FORWARDED_HEADERS[dialect]) {
    const value = headerOf(request, name);
    if (value === undefined || value === '') continue;
    if (!CLEAN.test(value)) {
      const reason = 'must be at most 2000 printable ASCII characters';
      return refuse('INVALID_REQUEST', { param: name, values: { reason } });
    }
    (headers ??= {})[name] = value;
  }
  const query = dialect === 'anthropic-messages' && asksForBeta(request.query) ? BETA_QUERY : '';
  return headers || query !== '' ? { headers: headers ?? {}, query } : NOTHING;
}

/** Of several of one name what they say together. */
export function headerOf(request: FastifyRequest, name: string): string | undefined {
  const header = request.headers[name.toLowerCase()];
  return Array.isArray(header) ? header.join(', ') : header;
}

function asksForBeta(query: unknown): boolean {
  return typeof query === 'object' && query !== null && 'beta' in query && query.beta === 'true';
}
