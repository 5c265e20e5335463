import { loadSettings } from '../../src/platform/config/load-settings';
import { Settings } from '../../src/platform/config/settings';

/** The variables a test gateway needs beside its servers; fixed, so that a restarted gateway reads its old data. */
export const TEST_SECRETS = {
  ADMIN_TOKEN: 'test-admin-token-0123456789',
  KEY_PEPPER: 'test-pepper-0123456789-0123456789-0123456789',
  ENCRYPTION_KEY: '5e'.repeat(32),
} as const;

/** Valid settings for a part that is tested in process; both URLs lead nowhere unless overridden. */
export function testSettings(overrides: Partial<Settings> = {}): Settings {
  const settings = loadSettings({
    NODE_ENV: 'test',
    LOG_LEVEL: 'silent',
    PORT: '0',
    DATABASE_URL: 'postgres://127.0.0.1:1/none',
    REDIS_URL: 'redis://127.0.0.1:1',
    // Redis goes away in many tests that are about Redis: who wants Postgres to decide then says so.
    BILLING_CIRCUIT_FAILURES: '1000000',
    ...TEST_SECRETS,
  });
  return Object.assign(settings, overrides);
}
