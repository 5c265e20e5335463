import type { TestGateway } from './test-gateway';

export interface PlainAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; undefined for an event stream. */
  readonly json: Readonly<Record<string, unknown>> | undefined;
}

/** One call of the data plane without a client library between: what is on the wire is what the test sees. */
export async function plainCall(
  gateway: TestGateway,
  key: string,
  options: { path?: string; body?: object | string; language?: string } = {},
): Promise<PlainAnswer> {
  const { path = '/v1/chat/completions', body = {}, language = 'en-US' } = options;
  const response = await fetch(`${gateway.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'accept-language': language },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false;
  const json = isJson ? (JSON.parse(text) as Record<string, unknown>) : undefined;
  return { status: response.status, headers: response.headers, text, json };
}

/** A metric's samples by their labels, as `/metrics` shows them: `{reason="…"}` → value. */
export async function metricOf(gateway: TestGateway, name: string): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(`${gateway.url}/metrics`, {
    headers: { authorization: `Bearer ${gateway.adminToken}` },
  });
  if (!response.ok) throw new Error(`no metrics: ${response.status}`);
  const samples = new Map<string, number>();
  for (const line of (await response.text()).split('\n')) {
    const [, labels, value] = new RegExp(`^${name}(\\{[^}]*\\})? (\\S+)$`).exec(line) ?? [];
    if (value !== undefined) samples.set(labels ?? '', Number(value));
  }
  return samples;
}
