import { Drain } from './drain';

const AT_ONCE = { graceMs: 0, deadlineMs: 0, settleMs: 0 };
const PATIENT = { graceMs: 0, deadlineMs: 60_000, settleMs: 60_000 };

describe('Drain', () => {
  it('serves until it begins, then is not ready, and refuses once the grace is over', async () => {
    const drain = new Drain();
    expect([drain.isDraining, drain.refusesNew]).toEqual([false, false]);
    const done = drain.run({ ...AT_ONCE, graceMs: 20 });
    expect([drain.isDraining, drain.refusesNew]).toEqual([true, false]);
    await done;
    expect([drain.isDraining, drain.refusesNew]).toEqual([true, true]);
  });

  it('ends as soon as the last request in flight has left, however long it might have waited', async () => {
    const drain = new Drain();
    const [leaveFirst, leaveSecond] = [drain.enter(), drain.enter()];
    const done = drain.run(PATIENT);
    leaveFirst();
    leaveFirst();
    expect(drain.inFlight).toBe(1);
    leaveSecond();
    await expect(done).resolves.toBe(0);
  });

  it('cuts what still runs at the deadline, and waits for it to be settled', async () => {
    const drain = new Drain();
    const leave = drain.enter();
    const cut: string[] = [];
    drain.onDeadline(() => {
      cut.push('stream');
      setImmediate(leave);
    });
    drain.onDeadline(() => cut.push('ended before'))();
    await expect(drain.run({ ...PATIENT, deadlineMs: 10 })).resolves.toBe(0);
    expect(cut).toEqual(['stream']);
  });

  it('cuts at once what begins after the deadline', async () => {
    const drain = new Drain();
    drain.enter();
    await drain.run({ graceMs: 0, deadlineMs: 5, settleMs: 5 });
    const cut = jest.fn();
    drain.onDeadline(cut)();
    expect(cut).toHaveBeenCalledTimes(1);
  });

  it('tells how many requests did not end at all', async () => {
    const drain = new Drain();
    drain.enter();
    await expect(drain.run({ graceMs: 0, deadlineMs: 5, settleMs: 5 })).resolves.toBe(1);
  });

  it('cuts at once where nothing of the process counts any more, and refuses what is new', async () => {
    const drain = new Drain();
    const leave = drain.enter();
    const cut = jest.fn(leave);
    drain.onDeadline(cut);
    drain.cutNow();
    expect([drain.isDraining, drain.refusesNew, cut.mock.calls.length]).toEqual([true, true, 1]);
    await expect(drain.run({ ...PATIENT, graceMs: 60_000 })).resolves.toBe(0);
    expect(cut).toHaveBeenCalledTimes(1);
  });
});
