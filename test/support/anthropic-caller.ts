import Anthropic from '@anthropic-ai/sdk';
import type { TestGateway } from './test-gateway';

/** The official client, and how many HTTP calls it really made. */
export interface CountedAnthropic {
  readonly client: Anthropic;
  readonly httpCalls: () => number;
}

/** As a user makes it: its own retries are on, unless the options say otherwise. */
export function anthropicClient(
  gateway: TestGateway,
  apiKey: string,
  options: { maxRetries?: number; acceptLanguage?: string; isBearer?: boolean } = {},
): CountedAnthropic {
  let calls = 0;
  const client = new Anthropic({
    baseURL: gateway.url,
    ...(options.isBearer === true ? { apiKey: null, authToken: apiKey } : { apiKey, authToken: null }),
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
export async function anthropicErrorOf(call: PromiseLike<unknown>): Promise<InstanceType<typeof Anthropic.APIError>> {
  try {
    await call;
  } catch (error) {
    if (error instanceof Anthropic.APIError) return error;
    throw error;
  }
  throw new Error('the call was answered, not refused');
}
