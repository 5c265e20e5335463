import { Logger } from '@nestjs/common';
import { eventually } from '../../../test/support/eventually';
import { startTestRedis, type TestRedis } from '../../../test/support/test-redis';
import { testSettings } from '../../../test/support/test-settings';
import { HandClock } from '../../../test/support/upstream-harness';
import { newId } from '../../kernel/ids';
import type { Settings } from '../../platform/config/settings';
import { Metrics } from '../../platform/metrics/metrics';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { ScriptRegistry } from '../../platform/redis/script-registry';
import type { RoutableUpstream } from '../../upstreams/upstream-directory';
import { Affinity, type AffinityChoice, type ChosenOrder } from './affinity';
import { affinityKey, type AffinitySession } from './affinity-key';

const [A, B, C] = ['a', 'b', 'c'].map((upstreamId) => ({ target: { upstreamId } }) as RoutableUpstream) as [
  RoutableUpstream,
  RoutableUpstream,
  RoutableUpstream,
];

describe('Affinity', () => {
  let redis: TestRedis;
  let connection: RedisConnection;
  let scripts: ScriptRegistry;
  let clock: HandClock;
  let session: AffinitySession;

  beforeEach(async () => {
    redis = await startTestRedis();
    connection = new RedisConnection(testSettings({ redisUrl: redis.url }));
    await connection.open(() => Promise.resolve());
    scripts = new ScriptRegistry(connection);
    clock = new HandClock();
    session = { tenantId: newId(), sessionId: 'chat 7', model: 'm', region: undefined };
  });
  afterEach(async () => {
    connection.onApplicationShutdown();
    await redis.stop();
    jest.restoreAllMocks();
  });

  function affinityWith(settings: Partial<Settings> = {}): { affinity: Affinity; counted: () => Promise<string> } {
    const metrics = new Metrics();
    const affinity = new Affinity(connection, scripts, metrics, testSettings(settings), clock);
    const counted = async (): Promise<string> =>
      [...(await metrics.scrape()).text.matchAll(/^tollgate_affinity_total\{outcome="(\w+)"\} (\d+)$/gm)]
        .map(([, outcome = '', times = '']) => `${outcome} ${times}`)
        .sort()
        .join(', ');
    return { affinity, counted };
  }

  const idsOf = ({ candidates }: ChosenOrder): string[] => candidates.map(({ target }) => target.upstreamId);

  function choiceOf({ choice }: ChosenOrder): AffinityChoice {
    if (!choice) throw new Error('nothing was chosen');
    return choice;
  }

  it('asks first who answered before, the others in their order', async () => {
    const { affinity, counted } = affinityWith();
    const first = await affinity.choose(session, [B, A, C]);
    expect(idsOf(first)).toEqual(['b', 'a', 'c']);
    affinity.report(choiceOf(first), { kind: 'answered', upstreamId: 'c' });
    await affinity.beforeApplicationShutdown();
    expect(idsOf(await affinity.choose(session, [B, A, C]))).toEqual(['c', 'b', 'a']);
    expect(await counted()).toBe('chosen 1, confirmed 1, followed 1');
  });

  it('keeps sessions, models, regions and tenants apart', async () => {
    const { affinity } = affinityWith();
    affinity.report(choiceOf(await affinity.choose(session, [A, B])), { kind: 'answered', upstreamId: 'a' });
    for (const other of [{ sessionId: 'chat 8' }, { model: 'n' }, { region: 'eu' }, { tenantId: newId() }]) {
      expect(idsOf(await affinity.choose({ ...session, ...other }, [B, A]))).toEqual(['b', 'a']);
    }
    expect(idsOf(await affinity.choose(session, [B, A]))).toEqual(['a', 'b']);
    const keys = await connection.client.keys('*');
    expect(keys).toHaveLength(5);
    expect(keys.every((key) => /^tg:\{[0-9a-f-]{36}\}:affinity:[\w-]{43}$/.test(key))).toBe(true);
  });

  it('leaves a session that failed, and one whose upstream may not be asked now', async () => {
    const { affinity, counted } = affinityWith();
    const choice = choiceOf(await affinity.choose(session, [A, B, C]));
    affinity.report(choice, { kind: 'failed', upstreamId: 'a' });
    await affinity.beforeApplicationShutdown();
    expect(idsOf(await affinity.choose(session, [A, B, C]))).toEqual(['b', 'a', 'c']);
    expect(idsOf(await affinity.choose(session, [A, C]))).toEqual(['a', 'c']);
    affinity.report(choice, { kind: 'failed', upstreamId: 'a' });
    await affinity.beforeApplicationShutdown();
    expect(await counted()).toBe('chosen 3, failed 1, overtaken 1');
  });

  it('makes the only one that may be asked the session’s, so that the next call stays there', async () => {
    const { affinity } = affinityWith();
    affinity.report(choiceOf(await affinity.choose(session, [A, B])), { kind: 'answered', upstreamId: 'a' });
    affinity.report(choiceOf(await affinity.choose(session, [B])), { kind: 'answered', upstreamId: 'b' });
    expect(idsOf(await affinity.choose(session, [A, B]))).toEqual(['b', 'a']);
  });

  it('knows nothing, and asks nobody, in RUN_MODE=simple and without Redis', async () => {
    const none = { candidates: [A, B], choice: undefined };
    expect(affinityWith({ runMode: 'simple' }).affinity.choose(session, [A, B])).toEqual(none);
    const nowhere = new RedisConnection(testSettings({ redisUrl: 'none' }));
    const without = new Affinity(nowhere, new ScriptRegistry(nowhere), new Metrics(), testSettings(), clock);
    expect(without.choose(session, [A, B])).toEqual(none);
    expect(await connection.client.dbsize()).toBe(0);
  });

  it('goes in plain order while Redis is away, at once, and with the session again afterwards', async () => {
    const { affinity, counted } = affinityWith();
    const choice = choiceOf(await affinity.choose(session, [A, B]));
    await redis.kill9();
    await eventually('the loss is noticed', () => (connection.isReady ? undefined : true));
    expect(affinity.choose(session, [B, A])).toEqual({ candidates: [B, A], choice: undefined });
    affinity.report(choice, { kind: 'answered', upstreamId: 'a' });
    await affinity.beforeApplicationShutdown();
    expect(await counted()).toBe('chosen 1, unavailable 2');
    await redis.restart();
    await eventually('it is back', () => connection.isReady || undefined);
    expect(idsOf(await affinity.choose(session, [B, A]))).toHaveLength(2);
  });

  it('waits for a slow Redis for a moment only, and then asks nothing of it for a while', async () => {
    const warned = jest.spyOn(Logger.prototype, 'warn').mockReturnValue(undefined);
    const { affinity, counted } = affinityWith({ affinityWaitMs: 20 });
    const answer = Promise.withResolvers<readonly string[]>();
    const slow = jest.spyOn(connection.client, 'evalsha').mockReturnValue(answer.promise);
    const plain = { candidates: [B, A], choice: undefined };
    for (let i = 0; i < 3; i += 1) expect(await affinity.choose(session, [B, A])).toEqual(plain);
    expect(affinity.choose(session, [B, A])).toEqual(plain);
    expect(slow).toHaveBeenCalledTimes(3);
    clock.ms += 1_000;
    slow.mockRestore();
    expect(idsOf(await affinity.choose(session, [B, A]))).toEqual(['b', 'a']);
    answer.resolve(['none', 'pending', 'a', 'late']);
    expect(await counted()).toBe('chosen 1, unavailable 4');
    expect(warned).toHaveBeenCalledTimes(1);
  });

  it('does not believe scripts that do what the machine does not, or name whom nobody offered', async () => {
    jest.spyOn(Logger.prototype, 'warn').mockReturnValue(undefined);
    const { affinity } = affinityWith();
    const answers = jest.spyOn(connection.client, 'evalsha');
    for (const reply of [['active', 'failed', 'a', 'c'], ['none', 'pending', 'z', 'c'], ['odd'], 7]) {
      answers.mockResolvedValue(reply);
      expect(await affinity.choose(session, [B, A])).toEqual({ candidates: [B, A], choice: undefined });
      clock.ms += 1_000;
    }
  });

  it('takes a bounded number of reports at once, and is done with them before the process ends', async () => {
    const { affinity, counted } = affinityWith();
    const choice = choiceOf(await affinity.choose(session, [A, B]));
    for (let i = 0; i < 1_050; i += 1) affinity.report(choice, { kind: 'answered', upstreamId: 'a' });
    await affinity.beforeApplicationShutdown();
    expect(await connection.client.hget(affinityKey(session), 'success_count')).toBe('1000');
    expect(await counted()).toBe('chosen 1, confirmed 1000, dropped 50');
  });
});
