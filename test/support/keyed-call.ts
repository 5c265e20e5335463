import { request } from 'node:http';
import type { Pool } from 'pg';
import type { TestGateway } from './test-gateway';

export interface KeyedCall {
  readonly apiKey: string;
  readonly idempotencyKey: string;
  readonly body: string;
}

export interface KeyedAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
  /** Of an error, also inside a stream. */
  readonly code: string | undefined;
}

let made = 0;

/** One that no test of this process has used. */
export function newKey(): string {
  made += 1;
  return `key-${process.pid}-${made}`;
}

/** One chat completion, byte for byte. Rejects where the connection breaks. */
export async function keyedCall(to: TestGateway, { apiKey, idempotencyKey, body }: KeyedCall): Promise<KeyedAnswer> {
  const response = await fetch(`${to.url}/v1/chat/completions`, {
    method: 'POST',
    headers: headersOf(apiKey, idempotencyKey),
    body,
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const code = /"code":"([A-Z_]+)"/.exec(bytes.toString('utf8'))?.[1];
  return { status: response.status, headers: response.headers, bytes, code };
}

/** 5 USD, as an operator gives them. */
export async function topUp(access: TestGateway, tenantId: string): Promise<void> {
  const response = await fetch(`${access.url}/admin/v1/tenants/${tenantId}/adjustments`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${access.adminToken}`,
      'content-type': 'application/json',
      'idempotency-key': newKey(),
    },
    body: JSON.stringify({ amount_usd: '5', reason_code: 'TOP_UP', description: 'test' }),
  });
  if (!response.ok) throw new Error(`no credit: ${response.status} ${await response.text()}`);
}

/** Every row of every table. */
export async function allRowsAsText(pool: Pool): Promise<string> {
  const { rows: tables } = await pool.query<{ name: string }>(
    `select format('%I', table_name) as name from information_schema.tables
      where table_schema = 'public' and table_type = 'BASE TABLE'`,
  );
  const texts: string[] = [];
  for (const { name } of tables) {
    const { rows } = await pool.query<{ text: string | null }>(
      `select string_agg(t::text, ' ') as text from ${name} t`,
    );
    texts.push(rows[0]?.text ?? '');
  }
  return texts.join(' ');
}

/** The content of a chat stream. */
export function textOf(stream: string): string {
  return [...stream.matchAll(/^data: (\{.*\})$/gm)]
    .map(([, json]) => JSON.parse(json ?? '') as { choices: { delta: { content?: string } }[] })
    .map(({ choices }) => choices[0]?.delta.content ?? '')
    .join('');
}

/** Resolves when the client of a stream has seen its first byte and is gone. */
export function hangUpAfterFirstByte(to: TestGateway, { apiKey, idempotencyKey, body }: KeyedCall): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(`${to.url}/v1/chat/completions`, {
      method: 'POST',
      headers: headersOf(apiKey, idempotencyKey),
    });
    call.on('response', (response) => {
      response.on('error', () => undefined);
      response.once('data', () => {
        call.destroy();
        resolve();
      });
    });
    call.on('error', reject);
    call.end(body);
  });
}

function headersOf(apiKey: string, idempotencyKey: string): Record<string, string> {
  return {
    authorization: `Bearer ${apiKey}`,
    'content-type': 'application/json',
    'idempotency-key': idempotencyKey,
  };
}
