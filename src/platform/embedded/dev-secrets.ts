import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { readPrivateJson, writePrivateJson } from './private-json';

export interface DevSecrets {
  readonly file: string;
  /** What the gateway is given: the environment's own values where set, else the kept ones. */
  readonly gateway: Readonly<Record<'ADMIN_TOKEN' | 'KEY_PEPPER' | 'ENCRYPTION_KEY', string>>;
  readonly redisPassword: string;
}

/**
 * Secrets of a developer's machine, made once and kept beside the data they protect: with another pepper no key would
 * work, with another encryption key no provider could be called.
 */
export function devSecrets(folder: string, env: NodeJS.ProcessEnv): DevSecrets {
  const file = join(folder, 'secrets.json');
  const kept = readPrivateJson(file);
  const made = {
    ADMIN_TOKEN: kept.ADMIN_TOKEN ?? randomBytes(32).toString('base64url'),
    KEY_PEPPER: kept.KEY_PEPPER ?? randomBytes(32).toString('base64url'),
    ENCRYPTION_KEY: kept.ENCRYPTION_KEY ?? randomBytes(32).toString('base64'),
    REDIS_PASSWORD: kept.REDIS_PASSWORD ?? randomBytes(24).toString('base64url'),
  };
  if (Object.keys(made).some((name) => kept[name] === undefined)) writePrivateJson(file, made);
  return {
    file,
    redisPassword: made.REDIS_PASSWORD,
    gateway: {
      ADMIN_TOKEN: given(env.ADMIN_TOKEN) ?? made.ADMIN_TOKEN,
      KEY_PEPPER: given(env.KEY_PEPPER) ?? made.KEY_PEPPER,
      ENCRYPTION_KEY: given(env.ENCRYPTION_KEY) ?? made.ENCRYPTION_KEY,
    },
  };
}

/** An empty variable counts as unset, as in the gateway's own settings. */
export function given(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === '' ? undefined : value;
}
