import { Logger } from '@nestjs/common';
import { nanoUsd } from '../../kernel/money';
import type { EndedHold, PostedBalance, QuotaStore } from '../../quota/quota-store.port';
import { ProjectionQueue } from './projection-queue';

const postedAt = (version: number): PostedBalance => ({ posted: nanoUsd(1_000n), version: BigInt(version) });

const ended = (holdId: string): EndedHold => ({ holdId, amount: nanoUsd(1n), tokens: 1 });

/** A projection whose calls end when the test says so. */
class ScriptedStore {
  readonly calls: {
    readonly what: 'settle' | 'release';
    readonly tenantId: string;
    readonly ids: readonly string[];
  }[] = [];
  underWay = 0;
  isAway = false;
  /** The call that fails, counted from 1. */
  failsAt = Infinity;
  private gate: PromiseWithResolvers<undefined> | undefined;

  /** Calls hang until `open`. */
  close(): void {
    this.gate = Promise.withResolvers<undefined>();
  }

  open(): void {
    this.gate?.resolve(undefined);
    this.gate = undefined;
  }

  readonly port: QuotaStore = {
    reserve: () => Promise.reject(new Error('not asked here')),
    quote: () => Promise.reject(new Error('not asked here')),
    extend: () => Promise.reject(new Error('not asked here')),
    settle: (tenantId, ended) =>
      this.call(
        'settle',
        tenantId,
        ended.map(({ holdId }) => holdId),
      ),
    release: (tenantId, ids) => this.call('release', tenantId, ids),
  };

  private async call(what: 'settle' | 'release', tenantId: string, ids: readonly string[]): Promise<void> {
    this.calls.push({ what, tenantId, ids });
    this.underWay += 1;
    try {
      await this.gate?.promise;
      if (this.isAway || this.calls.length === this.failsAt) throw new Error('Redis is away');
    } finally {
      this.underWay -= 1;
    }
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the queue to the projection', () => {
  let store: ScriptedStore;
  let queue: ProjectionQueue;
  let warn: jest.SpyInstance;
  let log: jest.SpyInstance;

  beforeEach(() => {
    store = new ScriptedStore();
    queue = new ProjectionQueue(store.port);
    warn = jest.spyOn(Logger.prototype, 'warn').mockReturnValue(undefined);
    log = jest.spyOn(Logger.prototype, 'log').mockReturnValue(undefined);
  });

  afterEach(() => {
    jest.restoreAllMocks();
  });

  it('answers that it has drained only when the projection has confirmed everything', async () => {
    store.close();
    void queue.settle('tenant', ended('hold'), postedAt(2));
    expect(await queue.drain(20)).toBe(false);
    expect([queue.isIdle, queue.depth]).toEqual([false, 1]);
    store.open();
    expect(await queue.drain(5_000)).toBe(true);
    expect([queue.isIdle, queue.depth]).toEqual([true, 0]);
  });

  it('has one call a tenant under way; what comes meanwhile is the next one, each hold once', async () => {
    store.close();
    queue.release('tenant', 'a');
    for (const holdId of ['b', 'c', 'b']) {
      await nextTurn();
      queue.release('tenant', holdId);
    }
    await nextTurn();
    expect([store.underWay, queue.depth]).toEqual([1, 3]);
    store.open();
    await queue.drain(5_000);
    expect(store.calls.map(({ ids }) => ids)).toEqual([['a'], ['b', 'c']]);
  });

  it('has a bounded number of calls under way, however many tenants wait, and tells all of them', async () => {
    store.close();
    for (let at = 0; at < 300; at += 1) queue.release(`tenant ${at}`, 'hold');
    await nextTurn();
    expect(store.underWay).toBe(64);
    store.open();
    expect(await queue.drain(5_000)).toBe(true);
    expect(new Set(store.calls.map(({ tenantId }) => tenantId)).size).toBe(300);
  });

  it('says once that it fell behind and once that it caught up, however often it tried', async () => {
    store.isAway = true;
    queue.release('one', 'hold');
    void queue.settle('two', ended('hold'), postedAt(2));
    expect(await queue.drain(350)).toBe(false);
    expect(store.calls.length).toBeGreaterThan(4);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(log).not.toHaveBeenCalled();
    store.isAway = false;
    expect(await queue.drain(5_000)).toBe(true);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(log).toHaveBeenCalledTimes(1);
  });

  it('goes on where it stood when a part of many holds was not taken', async () => {
    const ids = Array.from({ length: 1_200 }, (_, at) => `hold ${at}`);
    store.failsAt = 2;
    for (const holdId of ids) queue.release('tenant', holdId);
    expect(await queue.drain(5_000)).toBe(true);
    expect(store.calls.map((call) => call.ids.length)).toEqual([500, 500, 500, 200]);
    const told = store.calls.flatMap((call) => [...call.ids]);
    expect(new Set(told)).toEqual(new Set(ids));
  });

  it('is bounded: who ends a charge while it is full tells the projection before going on', async () => {
    store.isAway = true;
    for (let at = 0; at < 50_000; at += 1) queue.release('tenant', `hold ${at}`);
    expect([queue.isFull, queue.depth]).toEqual([true, 50_000]);
    store.isAway = false;
    store.close();
    let isTold = false;
    const telling = queue.settle('other', ended('a'), postedAt(2))?.then(() => (isTold = true));
    await nextTurn();
    expect([isTold, queue.depth]).toEqual([false, 50_000]);
    store.open();
    await telling;
    expect(store.calls.some(({ tenantId, ids }) => tenantId === 'other' && ids.join() === 'a')).toBe(true);
    expect(await queue.drain(5_000)).toBe(true);
    expect([queue.isFull, queue.depth]).toEqual([false, 0]);
  });

  it('drops nothing where it is full and the projection is away', async () => {
    store.isAway = true;
    for (let at = 0; at < 50_000; at += 1) queue.release('tenant', `hold ${at}`);
    await queue.settle('other', ended('a'), postedAt(2));
    expect(queue.depth).toBe(50_001);
    store.isAway = false;
    expect(await queue.drain(5_000)).toBe(true);
    expect(store.calls.filter(({ tenantId }) => tenantId === 'other')).toHaveLength(2);
  });
});
