import { Test, type TestingModule } from '@nestjs/testing';
import type { Pool } from 'pg';
import { ApiKeyAuthenticator } from '../../src/auth/api-key-authenticator';
import { ApiKeyHasher } from '../../src/auth/api-key-hasher';
import { AuthModule } from '../../src/auth/auth.module';
import { CLOCK, type OffsetClock } from '../../src/kernel/clock';
import { newId } from '../../src/kernel/ids';
import type { Settings } from '../../src/platform/config/settings';
import { SettingsModule } from '../../src/platform/config/settings.module';
import { CHANGE_FEED_TIMING, ChangeFeed } from '../../src/platform/database/change-feed';
import { DatabaseModule } from '../../src/platform/database/database.module';
import { PG_POOL } from '../../src/platform/database/pg-pool';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { testSettings } from './test-settings';

export interface MadeKey {
  readonly id: string;
  readonly key: string;
}

/** One gateway process' worth of authentication, with a count of the statements it sends to Postgres. */
export class AuthInstance {
  private constructor(
    readonly module: TestingModule,
    readonly statements: string[],
  ) {}

  static async start(databaseUrl: string, settings: Partial<Settings> = {}): Promise<AuthInstance> {
    const module = await Test.createTestingModule({
      imports: [
        SettingsModule.register(testSettings({ databaseUrl, testClockOffsetMs: 0, ...settings })),
        DatabaseModule,
        AuthModule,
      ],
    })
      .overrideProvider(CHANGE_FEED_TIMING)
      .useValue({ beatMs: 50, silenceMs: 400, firstRetryMs: 600, lastRetryMs: 600 })
      .compile();
    module.useLogger(false);
    await module.init();
    const statements: string[] = [];
    const pool = module.get<Pool>(PG_POOL);
    const query = pool.query.bind(pool) as (config: { text: string }) => Promise<unknown>;
    pool.query = ((config: { text: string } | string, values?: unknown) => {
      statements.push(typeof config === 'string' ? config : config.text);
      return typeof config === 'string' ? (query as unknown as Pool['query'])(config, values as []) : query(config);
    }) as Pool['query'];
    return new AuthInstance(module, statements);
  }

  get authenticator(): ApiKeyAuthenticator {
    return this.module.get(ApiKeyAuthenticator);
  }

  get feed(): ChangeFeed {
    return this.module.get(ChangeFeed);
  }

  get pool(): Pool {
    return this.module.get<Pool>(PG_POOL);
  }

  get clock(): OffsetClock {
    return this.module.get<OffsetClock>(CLOCK);
  }

  ask(key: string): ReturnType<ApiKeyAuthenticator['authenticate']> {
    return this.authenticator.authenticate({ authorization: `Bearer ${key}` });
  }

  /** Admitted, and from memory: without a promise. */
  async warmUp(key: string): Promise<void> {
    await until(async () => {
      await this.ask(key);
      return !(this.ask(key) instanceof Promise);
    });
    expect(this.ask(key)).toHaveProperty('tenantId');
  }

  async limitsOf(key: string): Promise<CallerLimits> {
    const answer = await this.ask(key);
    if ('code' in answer) throw new Error(`refused with ${answer.code}`);
    return answer.limits;
  }

  /** A row as it is, past the control plane; with an id of its own unless `id` is undefined. Returns the id. */
  async insert(table: string, fields: object): Promise<string> {
    const id = newId();
    const columns = Object.entries<unknown>({ id, ...fields }).filter(([, value]) => value !== undefined);
    await this.pool.query(
      `insert into ${table} (${columns.map(([name]) => name).join(', ')})
         values (${columns.map((_, at) => `$${at + 1}`).join(', ')})`,
      columns.map(([, value]) => value),
    );
    return id;
  }

  async insertKey(fields: object): Promise<MadeKey> {
    const { key, digest, hint } = this.module.get(ApiKeyHasher).newKey();
    return { key, id: await this.insert('api_key', { name: 'ci', digest, hint, ...fields }) };
  }

  async codeOf(key: string): Promise<string> {
    const answer = await this.ask(key);
    return 'code' in answer ? answer.code : 'ADMITTED';
  }
}

/** Repeats until it holds; returns how long that took. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<number> {
  const startMs = performance.now();
  while (!(await holds())) {
    if (performance.now() - startMs > 10_000) throw new Error('it never came true');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return performance.now() - startMs;
}
