import { DeadProcesses, type ProcessBeat } from './dead-processes';

const beats = (...list: [id: string, beat: string][]): ProcessBeat[] => list.map(([id, beat]) => ({ id, beat }));

/** Looks at the same beat of one process every 5 s from `fromMs` to `toMs`; answers when it was first dead. */
function deadAt(watch: DeadProcesses, fromMs: number, toMs: number): number | undefined {
  for (let nowMs = fromMs; nowMs <= toMs; nowMs += 5_000) {
    if (watch.observe(beats(['a', '7']), nowMs).length > 0) return nowMs;
  }
  return undefined;
}

describe('dead processes', () => {
  let watch: DeadProcesses;

  beforeEach(() => {
    watch = new DeadProcesses({ deadAfterMs: 60_000, maxGapMs: 15_000 });
  });

  it('are those whose beat stood still for the whole time that we watched', () => {
    const short = new DeadProcesses({ deadAfterMs: 1_000, maxGapMs: 1_000 });
    expect(short.observe(beats(['a', '5'], ['b', '1']), 0)).toEqual([]);
    expect(short.observe(beats(['a', '5'], ['b', '2']), 999)).toEqual([]);
    expect(short.observe(beats(['a', '5'], ['b', '2']), 1_000)).toEqual(beats(['a', '5']));
    // Gone and back: watched anew.
    expect(short.observe(beats(['b', '3']), 1_001)).toEqual([]);
    expect(short.observe(beats(['a', '5']), 1_900)).toEqual([]);
    expect(short.observe(beats(['a', '5']), 2_800)).toEqual([]);
    expect(short.observe(beats(['a', '5']), 2_900)).toEqual(beats(['a', '5']));
  });

  it('have the whole time again after the observer stood still: they may have stood still with it', () => {
    expect(deadAt(watch, 0, 55_000)).toBeUndefined();
    expect(watch.observe(beats(['a', '7']), 3_600_000)).toEqual([]);
    expect(deadAt(watch, 3_605_000, 3_700_000)).toBe(3_660_000);
  });

  it('have the whole time again after a look that failed: they could not write a beat either', () => {
    expect(deadAt(watch, 0, 55_000)).toBeUndefined();
    watch.interrupt();
    expect(deadAt(watch, 60_000, 200_000)).toBe(120_000);
  });

  it('are not spared by looks that come a little late', () => {
    expect(watch.observe(beats(['a', '7']), 0)).toEqual([]);
    for (const nowMs of [15_000, 30_000, 45_000]) expect(watch.observe(beats(['a', '7']), nowMs)).toEqual([]);
    expect(watch.observe(beats(['a', '7']), 60_000)).toEqual(beats(['a', '7']));
  });
});
