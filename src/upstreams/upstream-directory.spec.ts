import { Logger } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { inspect } from 'node:util';
import { Client, type Pool } from 'pg';
import { createTestDatabase, type TestDatabase } from '../../test/support/test-database';
import { testSettings } from '../../test/support/test-settings';
import { HandClock } from '../../test/support/upstream-harness';
import { newId } from '../kernel/ids';
import { SettingsModule } from '../platform/config/settings.module';
import { SecretBox } from '../platform/crypto/secret-box';
import { ChangeFeed } from '../platform/database/change-feed';
import { DatabaseModule } from '../platform/database/database.module';
import { PG_POOL } from '../platform/database/pg-pool';
import { type ListedModel, type RoutableUpstream, UpstreamDirectory } from './upstream-directory';
import { UpstreamsModule } from './upstreams.module';

describe('UpstreamDirectory', () => {
  let database: TestDatabase;
  let module: TestingModule;
  let pool: Pool;
  let feed: ChangeFeed;
  let box: SecretBox;
  let directory: UpstreamDirectory;

  beforeAll(async () => {
    database = await createTestDatabase();
    const settings = testSettings({ databaseUrl: database.url, upstreamFirstByteMs: 700, upstreamTotalMs: 9_000 });
    module = await Test.createTestingModule({
      imports: [SettingsModule.register(settings), DatabaseModule, UpstreamsModule],
    }).compile();
    module.useLogger(false);
    await module.init();
    pool = module.get<Pool>(PG_POOL);
    feed = module.get(ChangeFeed);
    box = module.get(SecretBox);
    directory = module.get(UpstreamDirectory);
  });

  afterAll(async () => {
    await module.close();
    await database.drop();
  });

  afterEach(() => jest.restoreAllMocks());

  async function addProvider(
    more: { apiKey?: string; sealedWith?: SecretBox; baseUrl?: string } = {},
  ): Promise<string> {
    const id = newId();
    const sealed = (more.sealedWith ?? box).seal(more.apiKey ?? 'sk-canary-of-the-provider', id);
    await pool.query(
      `insert into provider (id, name, kind, base_url, api_key_encrypted) values ($1, $2, 'openai', $3, $4)`,
      [id, `provider ${id}`, more.baseUrl ?? 'https://llm.example/v1', sealed],
    );
    return id;
  }

  interface UpstreamColumns {
    readonly priority?: number;
    readonly weight?: number;
    readonly timeoutMs?: number;
    readonly enabled?: boolean;
  }

  async function addUpstream(providerId: string, model: string, columns: UpstreamColumns = {}): Promise<string> {
    const id = newId();
    const { priority = 0, weight = 100, timeoutMs = null, enabled = true } = columns;
    await pool.query(
      `insert into upstream (id, provider_id, name, model, upstream_model, priority, weight, timeout_ms, enabled,
                             cost_input_nano_usd_per_mtok, cost_output_nano_usd_per_mtok)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 150000000, 600000000)`,
      [id, providerId, `upstream ${id}`, model, `vendor/${model}`, priority, weight, timeoutMs, enabled],
    );
    return id;
  }

  /**
   * Runs the change, which tells the id of its row, and waits until this process has heard of it: then it has heard of
   * everything before it too.
   */
  async function heard(table: string, change: () => Promise<string>): Promise<void> {
    const seen = new Set<string>();
    let look: () => void = () => undefined;
    const unsubscribe = feed.subscribe(table, {
      changed: (id) => {
        seen.add(id);
        look();
      },
      lost: () => undefined,
    });
    const id = await change();
    const news = Promise.withResolvers<undefined>();
    look = () => {
      if (seen.has(id)) news.resolve(undefined);
    };
    look();
    await news.promise;
    unsubscribe();
  }

  const idsOf = (found: readonly RoutableUpstream[] | undefined): string[] | undefined =>
    found?.map(({ target }) => target.upstreamId);
  const names = (models: readonly ListedModel[]): string[] => models.map(({ model }) => model);

  function warmCandidates(model: string): readonly RoutableUpstream[] | undefined {
    const found = directory.candidatesOf(model);
    if (found instanceof Promise) throw new Error('the directory is not warm');
    return found;
  }

  it('offers the enabled upstreams of a model by priority, with everything a call needs', async () => {
    const providerId = await addProvider({ apiKey: 'sk-1' });
    const late = await addUpstream(providerId, 'full', { priority: 2, weight: 7, timeoutMs: 20_000 });
    const early = await addUpstream(providerId, 'full', { priority: -1 });
    await addUpstream(providerId, 'full', { priority: -2, enabled: false });
    directory.invalidate();
    const found = (await directory.candidatesOf('full')) ?? [];
    expect(idsOf(found)).toEqual([early, late]);
    expect(found[1]).toMatchObject({
      kind: 'openai',
      dialects: ['openai-chat', 'openai-embeddings'],
      priority: 2,
      weight: 7,
      costInputNanoUsdPerMtok: 150_000_000n,
      costOutputNanoUsdPerMtok: 600_000_000n,
    });
    expect(found[1]?.target).toMatchObject({
      upstreamId: late,
      upstreamName: `upstream ${late}`,
      providerId,
      providerName: `provider ${providerId}`,
      baseUrl: 'https://llm.example/v1',
      apiKey: 'sk-1',
      upstreamModel: 'vendor/full',
      deadlines: { firstByteMs: 20_000, idleMs: 60_000, totalMs: 20_000 },
    });
    expect(found[0]?.target.deadlines).toEqual({ firstByteMs: 700, idleMs: 60_000, totalMs: 9_000 });
  });

  it('answers from memory, without a promise, once it has read', async () => {
    await heard('upstream', async () => addUpstream(await addProvider(), 'warm'));
    const found = await directory.candidatesOf('warm');
    const queries = jest.spyOn(pool, 'query');
    for (let i = 0; i < 100; i += 1) expect(warmCandidates('warm')).toBe(found);
    expect(queries).not.toHaveBeenCalled();
  });

  it('tells a model nobody has from one whose upstreams are all disabled', async () => {
    await heard('upstream', async () => addUpstream(await addProvider(), 'idle', { enabled: false }));
    expect(await directory.candidatesOf('idle')).toEqual([]);
    expect(await directory.candidatesOf('nobody')).toBeUndefined();
    expect(await directory.candidatesOf('constructor')).toBeUndefined();
  });

  it('lists models with an enabled upstream, once each, by name', async () => {
    const providerId = await addProvider();
    await addUpstream(providerId, 'list-b');
    await addUpstream(providerId, 'list-b');
    await addUpstream(providerId, 'list-a');
    await heard('upstream', () => addUpstream(providerId, 'list-c', { enabled: false }));
    const models = await directory.listModels();
    expect(names(models).filter((name) => name.startsWith('list-'))).toEqual(['list-a', 'list-b']);
    expect(Math.abs((models.find(({ model }) => model === 'list-a')?.sinceMs ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(directory.listModels()).toBe(models);
  });

  it.each([
    ['disabled', 'upstream', 'update upstream set enabled = false where model = $1', []],
    ['deleted', 'upstream', 'delete from upstream where model = $1', undefined],
    [
      'deleted with its provider',
      'provider',
      'delete from provider where id = (select provider_id from upstream where model = $1)',
      undefined,
    ],
  ] as const)('an upstream that another process %s is gone with the news of it', async (how, table, sql, expected) => {
    const model = `doomed ${how}`;
    await heard('upstream', async () => addUpstream(await addProvider(), model));
    expect(await directory.candidatesOf(model)).toHaveLength(1);
    await heard(
      table,
      async () => (await pool.query<{ id: string }>(`${sql} returning id`, [model])).rows[0]?.id ?? '',
    );
    expect(await directory.candidatesOf(model)).toEqual(expected);
  });

  it('a provider’s new key and place are used with the news of them', async () => {
    const providerId = await addProvider();
    await heard('upstream', () => addUpstream(providerId, 'moved'));
    await directory.candidatesOf('moved');
    await heard('provider', async () => {
      await pool.query('update provider set base_url = $2, api_key_encrypted = $3 where id = $1', [
        providerId,
        'https://new.example/v2',
        box.seal('sk-new', providerId),
      ]);
      return providerId;
    });
    const [moved] = (await directory.candidatesOf('moved')) ?? [];
    expect([moved?.target.baseUrl, moved?.target.apiKey]).toEqual(['https://new.example/v2', 'sk-new']);
  });

  it('reads once for all who ask at the same time', async () => {
    directory.invalidate();
    const queries = jest.spyOn(pool, 'query');
    await Promise.all(Array.from({ length: 100 }, async (_, index) => directory.candidatesOf(`anything ${index}`)));
    expect(queries).toHaveBeenCalledTimes(1);
  });

  it('whoever asks after a change waits for a read that began after it', async () => {
    const id = await addUpstream(await addProvider(), 'raced');
    const blocker = await pool.connect();
    await blocker.query('begin; lock table upstream in access exclusive mode');
    const queries = jest.spyOn(pool, 'query');
    directory.invalidate();
    const before = directory.candidatesOf('raced');
    directory.invalidate();
    const after = directory.candidatesOf('raced');
    await blocker.query('update upstream set weight = 5 where id = $1', [id]);
    await blocker.query('commit');
    blocker.release();
    await before;
    expect((await after)?.[0]?.weight).toBe(5);
    expect(queries).toHaveBeenCalledTimes(2);
  });

  it('asks again what changed while the feed was lost', async () => {
    const id = await addUpstream(await addProvider(), 'unheard');
    directory.invalidate();
    await directory.candidatesOf('unheard');
    const lost = Promise.withResolvers<undefined>();
    feed.subscribe('upstream', {
      changed: () => undefined,
      lost: () => {
        lost.resolve(undefined);
      },
    });
    const superuser = new Client({ connectionString: database.url });
    await superuser.connect();
    await superuser.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'tollgate-changes' and datname = current_database()`,
    );
    await superuser.end();
    await pool.query('delete from upstream where id = $1', [id]);
    await lost.promise;
    expect(await directory.candidatesOf('unheard')).toBeUndefined();
  });

  describe('without a live feed', () => {
    let clock: HandClock;
    let deaf: UpstreamDirectory;

    beforeEach(() => {
      clock = new HandClock();
      const settings = testSettings();
      const silent: Pick<ChangeFeed, 'isLive' | 'subscribe'> = { isLive: false, subscribe: () => () => undefined };
      deaf = new UpstreamDirectory(pool, silent as ChangeFeed, box, settings, clock);
    });

    it('believes what it read for a second and no longer', async () => {
      const id = await addUpstream(await addProvider(), 'deaf');
      expect(idsOf(await deaf.candidatesOf('deaf'))).toEqual([id]);
      await pool.query('delete from upstream where id = $1', [id]);
      const queries = jest.spyOn(pool, 'query');
      clock.ms += 999;
      expect(idsOf(await deaf.candidatesOf('deaf'))).toEqual([id]);
      expect(queries).not.toHaveBeenCalled();
      clock.ms += 1;
      expect(await deaf.candidatesOf('deaf')).toBeUndefined();
      expect(queries).toHaveBeenCalledTimes(1);
    });
  });

  it('looks a model nobody has up at most once a second, and finds one whose news has not come yet', async () => {
    const clock = new HandClock();
    const behind: Pick<ChangeFeed, 'isLive' | 'subscribe'> = { isLive: true, subscribe: () => () => undefined };
    const slow = new UpstreamDirectory(pool, behind as ChangeFeed, box, testSettings(), clock);
    expect(await slow.candidatesOf('new')).toBeUndefined();
    const id = await addUpstream(await addProvider(), 'new');
    const queries = jest.spyOn(pool, 'query');
    for (let i = 0; i < 100; i += 1) expect(await slow.candidatesOf('new')).toBeUndefined();
    expect(queries).not.toHaveBeenCalled();
    clock.ms += 1_000;
    expect(idsOf(await slow.candidatesOf('new'))).toEqual([id]);
  });

  it('leaves a provider out whose key does not open, says so once, and serves the others', async () => {
    const other = new SecretBox(testSettings({ encryptionKey: 'ab'.repeat(32) }));
    await addUpstream(await addProvider({ sealedWith: other }), 'mixed');
    await addUpstream(await addProvider({ baseUrl: 'not a url' }), 'mixed');
    const good = await addUpstream(await addProvider(), 'mixed');
    const errors = jest.spyOn(Logger.prototype, 'error');
    for (let i = 0; i < 3; i += 1) {
      directory.invalidate();
      expect(idsOf(await directory.candidatesOf('mixed'))).toEqual([good]);
    }
    expect(errors.mock.calls.map(([text]) => String(text))).toEqual([
      expect.stringContaining('ENCRYPTION_KEY'),
      expect.stringContaining('base URL'),
    ]);
    expect(inspect(errors.mock.calls)).not.toContain('canary');
  });

  it('rejects while Postgres does not answer, and recovers', async () => {
    const id = await addUpstream(await addProvider(), 'away');
    directory.invalidate();
    const query = jest.spyOn(pool, 'query').mockImplementation(() => {
      throw new Error('away');
    });
    await expect(directory.candidatesOf('away')).rejects.toThrow('away');
    query.mockRestore();
    expect(idsOf(await directory.candidatesOf('away'))).toEqual([id]);
  });

  it('keeps keys from whatever prints or serialises what it gives', async () => {
    await addUpstream(await addProvider(), 'printed');
    directory.invalidate();
    const found = await directory.candidatesOf('printed');
    const replacer = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);
    expect(found?.[0]?.target.apiKey).toContain('canary');
    expect(JSON.stringify(found, replacer) + inspect(found, { depth: 9, showHidden: true })).not.toContain('canary');
    expect(JSON.stringify({ ...found?.[0]?.target })).not.toContain('canary');
  });
});
