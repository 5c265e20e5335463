import { Logger } from '@nestjs/common';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DatabaseError } from 'pg';
import { SQL_STATE } from '../../platform/database/sql-state';
import { ForwardLane } from './forward-lane';
import { AwayLog } from './write-forward';

interface Item {
  readonly tenantId: string;
}

function locked(): DatabaseError {
  const error = new DatabaseError('locked', 0, 'error');
  error.code = SQL_STATE.lockNotAvailable;
  return error;
}

describe('an item of a tenant that was put aside', () => {
  it('has been handed to the writer as soon as it cannot be taken back', async () => {
    const stop = new AbortController();
    const handed = new Set<Item>();
    const finish: (() => void)[] = [];
    const lane = new ForwardLane<Item>({
      windowMs: 0,
      maxBatch: 2,
      tenantOf: ({ tenantId }) => tenantId,
      write: (items, isAside) => {
        for (const item of items) handed.add(item);
        if (!isAside) return Promise.reject(locked());
        return new Promise((resolve) => finish.push(resolve));
      },
      refused: () => undefined,
      signal: stop.signal,
      log: new AwayLog(new Logger()),
    });
    const items = Array.from({ length: 12 }, (_, index): Item => ({ tenantId: `tenant ${index % 4}` }));
    for (const item of items) lane.push(item);
    for (let turn = 0; turn < 200; turn += 1) {
      await nextTurn();
      for (const item of items) {
        if (handed.has(item)) continue;
        expect(lane.remove(item)).toBe(true);
        lane.push(item);
      }
      if (turn % 20 === 19) finish.shift()?.();
    }
    expect(handed.size).toBeGreaterThan(4);
    for (let turn = 0; turn < 10_000 && !lane.isIdle; turn += 1) {
      finish.shift()?.();
      await nextTurn();
    }
    expect(handed.size).toBe(items.length);
  });
});
