import { chmodSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import type { RedisBinary } from '../../src/platform/embedded/redis-binary';

/** What global-setup hands to the workers, through the environment they inherit. */
export interface TestState {
  readonly root: string;
  /** The superuser's URL of the server; its database is not the template. */
  readonly serverUrl: string;
  readonly redisBinary: RedisBinary;
}

const VARIABLE = 'TOLLGATE_TEST_STATE';
export const TEMPLATE_DATABASE = 'tollgate_template';

export function publishTestState(state: TestState): void {
  process.env[VARIABLE] = JSON.stringify(state);
}

export function testState(): TestState {
  const text = process.env[VARIABLE];
  if (text === undefined) throw new Error('no test servers: run through jest with test/support/global-setup.ts');
  return JSON.parse(text) as TestState;
}

export function databaseUrl(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}

/** A new folder of this run; the user Postgres runs as may pass through it. */
export function makeTestFolder(prefix: string): string {
  const folder = mkdtempSync(join(testState().root, prefix));
  chmodSync(folder, 0o711);
  return folder;
}
