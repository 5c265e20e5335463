import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { randomUUID } from 'node:crypto';
import { DataSource } from 'typeorm';
import { createGateway } from '../../src/create-gateway';
import type { Settings } from '../../src/platform/config/settings';
import { createTestDatabase, type TestDatabase } from './test-database';
import { startTestRedis } from './test-redis';
import { TEST_SECRETS, testSettings } from './test-settings';

export interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  /** As it came, to look for what must not be in it. */
  readonly text: string;
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** The whole gateway in this process, on a database and a Redis of its own, called through its real HTTP adapter. */
export class ControlPlane {
  private constructor(
    readonly app: NestFastifyApplication,
    readonly database: TestDatabase,
    private readonly stopRedis: () => Promise<void>,
  ) {}

  static async start(settings: Partial<Settings> = {}): Promise<ControlPlane> {
    const [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    const app = await createGateway(testSettings({ databaseUrl: database.url, redisUrl: redis.url, ...settings }));
    await app.getHttpAdapter().getInstance().ready();
    return new ControlPlane(app, database, () => redis.stop());
  }

  async stop(): Promise<void> {
    await this.app.close();
    await this.stopRedis();
    await this.database.drop();
  }

  /** As the administrator, below /admin/v1/. */
  admin(method: Method, path: string, body?: object, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const authorization = `Bearer ${TEST_SECRETS.ADMIN_TOKEN}`;
    return this.call(method, `/admin/v1/${path}`, body, { authorization, ...headers });
  }

  /** A JSON body as it is written here. */
  adminText(method: Method, path: string, body: string): Promise<Answer> {
    const headers = { authorization: `Bearer ${TEST_SECRETS.ADMIN_TOKEN}`, 'content-type': 'application/json' };
    return this.call(method, `/admin/v1/${path}`, body, headers);
  }

  async call(
    method: Method,
    url: string,
    body?: object | string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const response = await this.app.inject({ method, url, headers, ...(body === undefined ? {} : { payload: body }) });
    const parsed: unknown = JSON.parse(response.body);
    return { status: response.statusCode, body: parsed as Record<string, unknown>, text: response.body };
  }

  /** Throws where the answer is not of this status; returns the body. */
  async expectAdmin(
    status: number,
    method: Method,
    path: string,
    body?: object,
  ): Promise<Readonly<Record<string, unknown>>> {
    const headers = /\/(adjustments|refunds)$/.test(path) ? { 'idempotency-key': randomUUID() } : {};
    const answer = await this.admin(method, path, body, headers);
    if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  query<T>(sql: string, values: unknown[] = []): Promise<T[]> {
    return this.app.get(DataSource).query(sql, values);
  }

  async newTenant(fields: object = {}): Promise<string> {
    return textOf(await this.expectAdmin(201, 'POST', 'tenants', { name: 'Acme', ...fields }), 'id');
  }

  async newKey(tenantId: string, fields: object = {}): Promise<{ id: string; key: string }> {
    const body = await this.expectAdmin(201, 'POST', `tenants/${tenantId}/api-keys`, { name: 'ci', ...fields });
    return { id: textOf(body, 'id'), key: textOf(body, 'key') };
  }
}

export function textOf(body: Readonly<Record<string, unknown>>, field: string): string {
  const value = body[field];
  if (typeof value !== 'string') throw new Error(`no text field ${field} in ${JSON.stringify(body)}`);
  return value;
}

/** `error` of an answer that refuses. */
export function errorOf({ body }: Answer): Readonly<Record<string, unknown>> {
  return body.error as Record<string, unknown>;
}
