/** The control plane as the bench needs it: sets up one tenant, one key, and one upstream a scenario. */
export class AdminClient {
  constructor(
    private readonly url: string,
    private readonly token: string,
  ) {}

  /** @throws Error with the answer of the gateway where it refuses. */
  async post(path: string, body: object): Promise<Readonly<Record<string, unknown>>> {
    return (await this.call('POST', path, body)) as Record<string, unknown>;
  }

  get(path: string): Promise<unknown> {
    return this.call('GET', path);
  }

  private async call(method: string, path: string, body?: object): Promise<unknown> {
    const response = await fetch(`${this.url}/admin/v1/${path}`, {
      method,
      headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 500)}`);
    return JSON.parse(text);
  }
}

export function textField(answer: Readonly<Record<string, unknown>>, field: string): string {
  const value = answer[field];
  if (typeof value !== 'string') throw new Error(`no "${field}" in ${JSON.stringify(answer).slice(0, 300)}`);
  return value;
}
