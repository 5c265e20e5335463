import * as fc from 'fast-check';
import { AffinityModel } from '../../../test/support/affinity-model';
import { startTestRedis, type TestRedis } from '../../../test/support/test-redis';
import { testSettings } from '../../../test/support/test-settings';
import { newId } from '../../kernel/ids';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { ScriptRegistry } from '../../platform/redis/script-registry';
import {
  AFFINITY_STATES,
  AFFINITY_TRANSITIONS,
  type AffinityEvent,
  type AffinityState,
  assertTransition,
} from './affinity-machine';

const HOUR_S = '3600';
const MINUTE_S = '60';

describe('the affinity scripts', () => {
  let redis: TestRedis;
  let connection: RedisConnection;
  let scripts: ScriptRegistry;
  let key: string;

  beforeAll(async () => {
    redis = await startTestRedis();
    connection = new RedisConnection(testSettings({ redisUrl: redis.url }));
    await connection.open(() => Promise.resolve());
    scripts = new ScriptRegistry(connection);
  });
  afterAll(async () => {
    connection.onApplicationShutdown();
    await redis.stop();
  });
  beforeEach(() => {
    key = `tg:{${newId()}}:affinity:x`;
  });

  async function run(event: AffinityEvent, ...args: string[]): Promise<readonly string[]> {
    const reply = await scripts.bind(`affinity_${event}`)(1, key, ...args);
    if (typeof reply === 'number') throw new Error('a number');
    assertTransition(event, reply[0], reply[1]);
    return reply;
  }
  const choose = (own: string, ...candidates: string[]): Promise<readonly string[]> =>
    run('choose', own, HOUR_S, ...candidates);
  const confirm = (upstream: string, choice: string, own = newId()): Promise<readonly string[]> =>
    run('confirm', upstream, choice, own, HOUR_S);
  const fail = (upstream: string, choice: string): Promise<readonly string[]> =>
    run('fail', upstream, choice, MINUTE_S);

  const stored = (): Promise<Record<string, string>> => connection.client.hgetall(key);
  const ttlS = (): Promise<number> => connection.client.ttl(key);

  /** A session whose standing choice `c1` is of the upstream `a`. */
  async function given(state: AffinityState): Promise<void> {
    if (state === 'none') return;
    await choose('c1', 'a', 'b');
    if (state === 'active') for (let i = 0; i < 3; i += 1) await confirm('a', 'c1');
    if (state === 'failed') await fail('a', 'c1');
  }

  type Row = readonly [
    state: AffinityState,
    what: string,
    event: () => Promise<readonly string[]>,
    after: AffinityState,
    upstream: string | undefined,
    count: number,
  ];

  const ROWS: readonly Row[] = [
    ['none', 'choose', () => choose('c2', 'b', 'a'), 'pending', 'b', 0],
    ['none', 'confirm', () => confirm('a', 'c0'), 'active', 'a', 1],
    ['none', 'fail', () => fail('a', 'c0'), 'none', undefined, 0],
    ['pending', 'choose', () => choose('c2', 'b', 'a'), 'pending', 'a', 0],
    ['pending', 'choose where it may not be asked', () => choose('c2', 'b', 'c'), 'pending', 'b', 0],
    ['pending', 'confirm', () => confirm('a', 'c1'), 'active', 'a', 1],
    ['pending', 'confirm of an older choice', () => confirm('a', 'c0'), 'active', 'a', 1],
    ['pending', 'confirm of who was failed over to', () => confirm('b', 'c1'), 'active', 'b', 1],
    ['pending', 'confirm of another by an older choice', () => confirm('b', 'c0'), 'pending', 'a', 0],
    ['pending', 'fail', () => fail('a', 'c1'), 'failed', 'a', 0],
    ['pending', 'fail of an older choice', () => fail('a', 'c0'), 'pending', 'a', 0],
    ['pending', 'fail of another', () => fail('b', 'c1'), 'pending', 'a', 0],
    ['active', 'choose', () => choose('c2', 'b', 'a'), 'active', 'a', 3],
    ['active', 'choose where it may not be asked', () => choose('c2', 'b', 'c'), 'pending', 'b', 0],
    ['active', 'confirm', () => confirm('a', 'c1'), 'active', 'a', 4],
    ['active', 'confirm of an older choice', () => confirm('a', 'c0'), 'active', 'a', 4],
    ['active', 'confirm of who was failed over to', () => confirm('b', 'c1'), 'active', 'b', 1],
    ['active', 'confirm of another by an older choice', () => confirm('b', 'c0'), 'active', 'a', 3],
    ['active', 'fail', () => fail('a', 'c1'), 'failed', 'a', 0],
    ['active', 'fail of an older choice', () => fail('a', 'c0'), 'active', 'a', 3],
    ['active', 'fail of another', () => fail('b', 'c1'), 'active', 'a', 3],
    ['failed', 'choose', () => choose('c2', 'a', 'b'), 'pending', 'b', 0],
    ['failed', 'choose where nothing else may be asked', () => choose('c2', 'a'), 'pending', 'a', 0],
    ['failed', 'confirm', () => confirm('a', 'c1'), 'failed', 'a', 0],
    ['failed', 'confirm of who was failed over to', () => confirm('b', 'c1'), 'active', 'b', 1],
    ['failed', 'confirm of another by an older choice', () => confirm('b', 'c0'), 'failed', 'a', 0],
    ['failed', 'fail', () => fail('a', 'c1'), 'failed', 'a', 0],
    ['failed', 'fail of another', () => fail('b', 'c1'), 'failed', 'a', 0],
  ];

  it.each(ROWS)('%s: %s', async (state, _what, event, after, upstream, count) => {
    await given(state);
    const reply = await event();
    expect(reply.slice(0, 2)).toEqual([state, after]);
    const { state: kept = 'none', upstream: named, success_count: counted = '0' } = await stored();
    expect([kept, named, counted]).toEqual([after, upstream, String(count)]);
  });

  it('walk every transition of the machine, and no other', () => {
    const walked = new Set(ROWS.map(([state, what, , after]) => `${state} ${what.split(' ')[0] ?? ''} ${after}`));
    const known = AFFINITY_STATES.flatMap((state) =>
      Object.entries(AFFINITY_TRANSITIONS[state]).flatMap(([event, afters]) =>
        afters.map((after) => `${state} ${event} ${after}`),
      ),
    );
    expect([...walked].sort()).toEqual(known.sort());
  });

  it('say by which choice a call goes: its own, or the one that stands', async () => {
    expect(await choose('c1', 'a', 'b')).toEqual(['none', 'pending', 'a', 'c1']);
    expect(await choose('c2', 'b', 'a')).toEqual(['pending', 'pending', 'a', 'c1']);
    await confirm('b', 'c1', 'c3');
    expect(await choose('c4', 'a', 'b')).toEqual(['active', 'active', 'b', 'c3']);
  });

  it('let a session stand an hour from its naming and from each success, a failure a minute', async () => {
    await choose('c1', 'a', 'b');
    expect(await ttlS()).toBe(3600);
    await connection.client.expire(key, 100);
    await choose('c2', 'a', 'b');
    expect(await ttlS()).toBeLessThanOrEqual(100);
    await confirm('b', 'c0');
    expect(await ttlS()).toBeLessThanOrEqual(100);
    await confirm('a', 'c1');
    expect(await ttlS()).toBe(3600);
    await fail('a', 'c1');
    expect(await ttlS()).toBe(60);
  });

  it.each([
    ['no hash', (): Promise<unknown> => connection.client.set(key, 'text')],
    ['a state nobody knows', (): Promise<unknown> => connection.client.hset(key, 'state', 'odd', 'upstream', 'a')],
    ['a field missing', (): Promise<unknown> => connection.client.hset(key, 'state', 'active', 'upstream', 'a')],
    [
      'a count that is none',
      (): Promise<unknown> =>
        connection.client.hset(key, 'state', 'active', 'upstream', 'a', 'choice', 'c', 'success_count', 'x'),
    ],
    [
      'active without a success',
      (): Promise<unknown> =>
        connection.client.hset(key, 'state', 'active', 'upstream', 'a', 'choice', 'c', 'success_count', '0'),
    ],
  ])('begin anew over what nobody can have written: %s', async (_what, write) => {
    await write();
    expect(await fail('a', 'c')).toEqual(['none', 'none']);
    await write();
    expect(await confirm('b', 'c')).toEqual(['none', 'active', 'b', '1']);
    await connection.client.del(key);
    await write();
    expect(await choose('c1', 'b', 'a')).toEqual(['none', 'pending', 'b', 'c1']);
    expect(Object.keys(await stored()).sort()).toEqual(['choice', 'state', 'success_count', 'upstream']);
  });

  it('refuse to run without what they need', async () => {
    await expect(run('choose', 'c1', HOUR_S)).rejects.toThrow('no upstream to choose from');
    await expect(run('choose', '', HOUR_S, 'a')).rejects.toThrow('no naming');
    await expect(run('confirm', 'a', 'c1', 'c2')).rejects.toThrow('no success');
    await expect(run('fail', 'a', 'c1', '0')).rejects.toThrow('no failure');
    expect(await stored()).toEqual({});
  });

  it('count 500 successes at once from several connections as 500', async () => {
    const others = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const other = new RedisConnection(testSettings({ redisUrl: redis.url }));
        await other.open(() => Promise.resolve());
        return other;
      }),
    );
    await choose('c1', 'a', 'b');
    const told = others.map((other) => new ScriptRegistry(other).bind('affinity_confirm'));
    await Promise.all(
      Array.from({ length: 500 }, async (_, i) => told[i % told.length]?.(1, key, 'a', 'c1', newId(), HOUR_S)),
    );
    expect(await stored()).toMatchObject({ state: 'active', upstream: 'a', choice: 'c1', success_count: '500' });
    for (const other of others) other.onApplicationShutdown();
  });

  it('do what the model does, whatever comes in whichever order', async () => {
    const upstreams = ['a', 'b', 'c'];
    const pick = fc.nat({ max: 40 });
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('choose' as const),
          offered: fc.shuffledSubarray(upstreams, { minLength: 1 }),
        }),
      },
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant('confirm' as const), upstream: fc.constantFrom(...upstreams), pick }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ kind: fc.constant('fail' as const), upstream: fc.constantFrom(...upstreams), pick }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('expire' as const) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
        key = `tg:{${newId()}}:affinity:x`;
        const model = new AffinityModel();
        const choices = ['c0'];
        for (const [index, each] of steps.entries()) {
          const own = `own-${index}`;
          // Any choice that a call may still go by, the newest most often.
          const choice = (at: number): string => choices.at(-1 - (at % Math.min(3, choices.length))) ?? 'c0';
          if (each.kind === 'choose') {
            const chosen = model.choose(own, each.offered);
            choices.push(chosen.choice);
            expect((await choose(own, ...each.offered)).slice(2)).toEqual([chosen.upstream, chosen.choice]);
          } else if (each.kind === 'confirm') {
            model.confirm(each.upstream, choice(each.pick), own);
            await confirm(each.upstream, choice(each.pick), own);
          } else if (each.kind === 'fail') {
            model.fail(each.upstream, choice(each.pick));
            await fail(each.upstream, choice(each.pick));
          } else {
            model.expire();
            await connection.client.del(key);
          }
          const { session } = model;
          expect(await stored()).toEqual(
            session ? { ...session, success_count: String(session.successCount), successCount: undefined } : {},
          );
        }
      }),
      { numRuns: 300, seed: 20_261_121 },
    );
  });
});
