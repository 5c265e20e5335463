import OpenAI from 'openai';
import type { TestGateway } from './test-gateway';

/** The official client, and how many HTTP calls it really made. */
export interface CountedClient {
  readonly client: OpenAI;
  readonly httpCalls: () => number;
}

/** As a user makes it: its own retries are on, unless the options say otherwise. */
export function openAiClient(
  gateway: TestGateway,
  apiKey: string,
  options: { maxRetries?: number; acceptLanguage?: string } = {},
): CountedClient {
  let calls = 0;
  const client = new OpenAI({
    baseURL: `${gateway.url}/v1`,
    apiKey,
    ...(options.maxRetries === undefined ? {} : { maxRetries: options.maxRetries }),
    ...(options.acceptLanguage === undefined ? {} : { defaultHeaders: { 'accept-language': options.acceptLanguage } }),
    fetch: (url, init) => {
      calls += 1;
      return fetch(url, init);
    },
  });
  return { client, httpCalls: () => calls };
}

/** The error a call ends with. Throws where it does not end with one of the client's own errors. */
export async function apiErrorOf(call: PromiseLike<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  try {
    await call;
  } catch (error) {
    if (error instanceof OpenAI.APIError) return error;
    throw error;
  }
  throw new Error('the call was answered, not refused');
}

/** `x-request-id`: the trace id of the charge. */
export function traceIdOf(response: { headers: { get(name: string): string | null } }): string {
  const traceId = response.headers.get('x-request-id');
  if (traceId === null) throw new Error('the answer names no x-request-id');
  return traceId;
}
