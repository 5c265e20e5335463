export interface AdminAccess {
  readonly url: string;
  readonly adminToken: string;
}

/** One call of the control plane; anything but a 2xx throws with the answer's text, so that a test shows why. */
export async function adminCall(access: AdminAccess, method: string, path: string, body?: object): Promise<unknown> {
  const response = await fetch(`${access.url}/admin/v1/${path}`, {
    method,
    headers: { authorization: `Bearer ${access.adminToken}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} /admin/v1/${path}: ${response.status} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

/** The field of an answer that a factory hands on. */
export function textField(answer: unknown, name: string): string {
  const value: unknown = typeof answer === 'object' && answer !== null ? Reflect.get(answer, name) : undefined;
  if (typeof value !== 'string') throw new Error(`the answer has no text field ${name}: ${JSON.stringify(answer)}`);
  return value;
}
