import type { Piscina } from 'piscina';
import { type Clock, OffsetClock } from '../../kernel/clock';
import { eventually } from '../../../test/support/eventually';
import { TokenizerPool } from './tokenizer-pool';

const WORDS = 200_000;
/** Takes a thread a good while. */
const LONG = [Array<string>(WORDS).fill('word').join(' ')];

class HastyPool extends TokenizerPool {
  protected override readonly jobTimeoutMs = 1;
}

/** What nobody but a test may touch. */
const threadsOf = (pool: TokenizerPool): Piscina['threads'] =>
  (Reflect.get(pool, 'pool') as Piscina | undefined)?.threads ?? [];

describe('TokenizerPool', () => {
  let nowMs: number;
  let pool: TokenizerPool;
  const clock: Clock = { offsetMs: 0, nowMs: () => nowMs, monotonicMs: () => nowMs };

  beforeEach(() => {
    nowMs = 0;
    pool = new TokenizerPool(clock);
  });
  afterEach(() => pool.close());

  it('starts no thread before it is asked, and one or two then', async () => {
    expect(threadsOf(pool)).toHaveLength(0);
    expect(await pool.count([['one two three'], [], ['four']])).toEqual([3, 0, 1]);
    await Promise.all(Array.from({ length: 20 }, () => pool.count([['word']])));
    expect([1, 2]).toContain(threadsOf(pool).length);
  });

  it('counts short texts off the event loop too', async () => {
    const [thread] = (await pool.count([['one']]), threadsOf(pool));
    expect(thread?.threadId).toBeGreaterThan(0);
  });

  it('estimates instead of waiting when too much waits, and recovers', async () => {
    const jobs = Array.from({ length: 40 }, () => pool.count([LONG]));
    expect(await jobs[39]).toBeUndefined();
    await Promise.all(jobs.slice(0, 2));
    expect(await pool.count([['word']])).toEqual([1]);
    await pool.close();
    expect((await Promise.all(jobs)).every((counts) => counts === undefined || counts[0] === WORDS)).toBe(true);
  });

  it('gives a job up that takes too long, never with an error, and rests for a moment', async () => {
    const hasty = new HastyPool(clock);
    expect(await hasty.count([LONG])).toBeUndefined();
    nowMs += 999;
    const run = jest.spyOn(Reflect.get(hasty, 'pool') as Piscina, 'run');
    expect(await hasty.count([[]])).toBeUndefined();
    expect(run).not.toHaveBeenCalled();
    nowMs += 1;
    expect(await hasty.count([LONG])).toBeUndefined();
    expect(run).toHaveBeenCalledTimes(1);
    await hasty.close();
  });

  it('survives a thread that dies: its job is answered with undefined, those that wait go on', async () => {
    await pool.count([['warm']]);
    const running = pool.count([LONG]);
    const waiting = Array.from({ length: 6 }, () => pool.count([['one two']]));
    for (const thread of threadsOf(pool)) await thread.terminate();
    expect([undefined, [WORDS]]).toContainEqual(await running);
    for (const counts of await Promise.all(waiting)) expect([undefined, [2]]).toContainEqual(counts);
    nowMs += 1_000;
    expect(await pool.count([['one two three']])).toEqual([3]);
  });

  it('survives a thread that dies with nothing to do', async () => {
    await pool.count([['warm']]);
    for (const thread of threadsOf(pool)) await thread.terminate();
    await eventually('the thread is gone', () => (threadsOf(pool).length === 0 ? true : undefined));
    nowMs += 1_000;
    expect(await pool.count([['one two three']])).toEqual([3]);
  });

  it('answers what waits when it is closed, and nothing afterwards', async () => {
    const waiting = [pool.count([LONG]), pool.count([['word']]), pool.count([['word']]), pool.count([['word']])];
    await pool.close();
    for (const counts of await Promise.all(waiting)) expect([undefined, [1]]).toContainEqual(counts);
    expect(await pool.count([['word']])).toBeUndefined();
    expect(threadsOf(pool)).toHaveLength(0);
  });

  it('closes though it was never asked', async () => {
    const idle = new TokenizerPool(new OffsetClock(0));
    await idle.close();
    expect(await idle.count([['word']])).toBeUndefined();
  });
});
