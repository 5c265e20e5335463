import { errorFrame, streamSidesOf } from '../../src/gateway/stream/stream-sides';
import type { AnswerLook } from '../../src/gateway/dialects/dialect';
import { DIALECTS } from '../../src/gateway/dialects/dialects';
import type { InferenceRequest } from '../../src/gateway/dialects/inference-request';
import type { ApiDialect } from '../../src/upstreams/upstream.port';
import { pumpHarness, type PumpHarness, type PumpSurroundings } from './pump-harness';
import type { StreamPumpOptions } from '../../src/gateway/stream/stream-pump';

const MESSAGES = [{ role: 'user', content: 'Hello' }];
const BODIES: Readonly<Record<ApiDialect, object>> = {
  'openai-chat': { messages: MESSAGES, stream_options: { include_usage: true } },
  'openai-responses': { input: 'Hello' },
  'anthropic-messages': { messages: MESSAGES, max_tokens: 100 },
  'openai-embeddings': { input: 'Hello' },
};

/** Of a client that asks for a stream of `ours`, where there are any, and for its usage where that has to be asked for. */
export function streamRequest(dialect: ApiDialect, more: object = {}): InferenceRequest {
  const body = {
    model: 'ours',
    ...(dialect === 'openai-embeddings' ? {} : { stream: true }),
    ...BODIES[dialect],
    ...more,
  };
  const request = DIALECTS[dialect].parseRequest(Buffer.from(JSON.stringify(body)));
  if ('code' in request) throw new Error(`the body is refused: ${JSON.stringify(request)}`);
  return request;
}

export function lookOf(request: InferenceRequest): AnswerLook {
  return { model: request.model, showUsage: request.includeUsage, request, answerId: 'a1', nowMs: 1_000 };
}

export interface DialectPumpOptions {
  readonly wire: ApiDialect;
  readonly asked?: InferenceRequest;
  readonly isAliased?: boolean;
  readonly pump?: Partial<Omit<StreamPumpOptions, 'client'>> & PumpSurroundings;
}

/** The pump between a client and a provider of any two dialects. */
export function dialectPump(client: ApiDialect, options: DialectPumpOptions): PumpHarness {
  const look = lookOf(options.asked ?? streamRequest(client));
  return pumpHarness({
    ...streamSidesOf(options.wire, look, options.isAliased ? look.model : undefined, true),
    renderError: ({ code }) => errorFrame(client, JSON.stringify({ type: 'error', error: { code } })),
    ...options.pump,
  });
}
