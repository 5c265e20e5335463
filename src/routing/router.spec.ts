import type { Clock } from '../kernel/clock';
import { ZERO_NANO_USD } from '../kernel/money';
import { type RoutableUpstream, UpstreamDirectory } from '../upstreams/upstream-directory';
import type { UpstreamFailureKind } from '../upstreams/upstream.port';
import { Router } from './router';

class HandClock implements Clock {
  readonly offsetMs = 0;
  ms = 1_000;
  nowMs(): number {
    return this.ms;
  }
  monotonicMs(): number {
    return this.ms;
  }
}

function upstream(id: string, weight = 1, priority = 0): RoutableUpstream {
  return {
    target: {
      upstreamId: id,
      upstreamName: id,
      providerId: id,
      providerName: id,
      baseUrl: 'https://llm.example/v1',
      apiKey: 'k',
      upstreamModel: 'm',
      deadlines: { firstByteMs: 1, idleMs: 1, totalMs: 1 },
    },
    kind: 'openai',
    dialects: ['openai-chat'],
    priority,
    weight,
    maxConcurrency: null,
    region: null,
    costInputNanoUsdPerMtok: ZERO_NANO_USD,
    costOutputNanoUsdPerMtok: ZERO_NANO_USD,
    costCachedInputNanoUsdPerMtok: ZERO_NANO_USD,
    costCacheWriteNanoUsdPerMtok: ZERO_NANO_USD,
  };
}

describe('Router', () => {
  let clock: HandClock;
  let known: Record<string, readonly RoutableUpstream[] | undefined | Promise<readonly RoutableUpstream[] | undefined>>;
  let router: Router;

  beforeEach(() => {
    clock = new HandClock();
    known = { m: [upstream('a'), upstream('b', 0), upstream('spare', 1, 5)] };
    const directory: Pick<UpstreamDirectory, 'candidatesOf'> = { candidatesOf: (model) => known[model] };
    router = new Router(directory as UpstreamDirectory, () => 0, clock);
  });

  const failed = (kind: UpstreamFailureKind = 'connect') => ({ kind: 'failure', failure: kind }) as const;
  const status = (value: number, retryAfterMs?: number) => ({ kind: 'status', status: value, retryAfterMs }) as const;

  function plan(model = 'm'): string[] {
    const planned = router.plan(model);
    if (planned instanceof Promise || 'code' in planned) throw new Error('expected a plan');
    return planned.map(({ target }) => target.upstreamId);
  }

  /** How long the upstream stays out of the plan, to the millisecond. */
  function coolDownOf(id: string): number {
    const startedMs = clock.ms;
    while (!plan().includes(id)) clock.ms += 1;
    return clock.ms - startedMs;
  }

  it('orders by priority, then by weighted choice', () => {
    expect(plan()).toEqual(['a', 'b', 'spare']);
  });

  it('answers without a promise while the directory does', () => {
    expect(router.plan('m')).not.toBeInstanceOf(Promise);
  });

  it('waits for a directory that has to read, and passes its failure on', async () => {
    known.later = Promise.resolve([upstream('x')]);
    known.never = Promise.reject(new Error('postgres is away'));
    await expect(router.plan('later')).resolves.toHaveLength(1);
    await expect(router.plan('never')).rejects.toThrow('postgres is away');
  });

  it('tells a model nobody has from one whose upstreams are all disabled', () => {
    known.idle = [];
    expect(router.plan('nobody')).toEqual({ code: 'MODEL_NOT_FOUND', param: 'model', values: { model: 'nobody' } });
    expect(router.plan('idle')).toEqual({ code: 'NO_UPSTREAM_AVAILABLE', values: { model: 'idle' } });
  });

  it('plans upstreams of the region that is asked for, and names one that nobody is in', () => {
    known.m = [upstream('a'), { ...upstream('b'), region: 'eu' }, { ...upstream('c'), region: 'us-east' }];
    const inRegion = (region: string): unknown => {
      const planned = router.plan('m', region);
      if (planned instanceof Promise) throw new Error('expected no promise');
      return 'code' in planned ? planned : planned.map(({ target }) => target.upstreamId);
    };
    expect([inRegion('eu'), inRegion('us-east')]).toEqual([['b'], ['c']]);
    expect(inRegion('mars')).toEqual({ code: 'NO_UPSTREAM_AVAILABLE', values: { model: 'm', region: 'mars' } });
  });

  it('never plans more than three attempts', () => {
    known.m = Array.from({ length: 1_000 }, (_, index) => upstream(String(index)));
    expect(plan()).toHaveLength(3);
  });

  it('leaves out what cools down, and takes it back in time', () => {
    router.report('a', failed());
    expect(plan()).toEqual(['b', 'spare']);
    expect(coolDownOf('a')).toBe(500);
    expect(plan()).toEqual(['a', 'b', 'spare']);
  });

  it('plans those that cool down when all do, the soonest to end first', () => {
    router.report('a', status(429, 9_000));
    router.report('b', status(429, 3_000));
    router.report('spare', status(429, 6_000));
    expect(plan()).toEqual(['b', 'spare', 'a']);
  });

  it('always plans an only upstream', () => {
    known.m = [upstream('a')];
    router.report('a', status(429, 60_000));
    expect(plan()).toEqual(['a']);
  });

  it('doubles the cool-down of each failure that follows, within bounds', () => {
    const lengths = Array.from({ length: 9 }, () => {
      router.report('a', failed());
      return coolDownOf('a');
    });
    expect(lengths).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('takes a burst of failures of calls that were under way for one', () => {
    for (let i = 0; i < 1_000; i += 1) router.report('a', failed());
    expect(coolDownOf('a')).toBe(500);
  });

  it('starts anew after a success, but not for one that was under way before the failure', () => {
    router.report('a', failed());
    router.report('a', status(200));
    expect(coolDownOf('a')).toBe(500);
    router.report('a', status(200));
    router.report('a', failed());
    expect(coolDownOf('a')).toBe(500);
  });

  it('honours Retry-After of 429 and 503, within bounds, and of nothing else', () => {
    router.report('a', status(429, 45_000));
    expect(coolDownOf('a')).toBe(45_000);
    router.report('b', status(503, 5_000));
    expect(coolDownOf('b')).toBe(5_000);
    router.report('b', status(200));
    router.report('b', status(500, 5_000));
    expect(coolDownOf('b')).toBe(250);
    router.report('spare', status(429, 86_400_000));
    expect(coolDownOf('spare')).toBe(600_000);
  });

  it('lengthens a running cool-down when a later answer asks for more, and never shortens it', () => {
    router.report('a', status(429, 2_000));
    router.report('a', status(429, 10_000));
    router.report('a', status(429, 1_000));
    expect(coolDownOf('a')).toBe(10_000);
  });

  it.each([200, 400, 404, 408, 409, 413, 422])('a status of %i is no reason to leave an upstream alone', (value) => {
    router.report('a', status(value));
    expect(plan()).toContain('a');
  });

  it.each([301, 401, 402, 403, 429, 500, 502, 503, 529])('a status of %i is', (value) => {
    router.report('a', status(value));
    expect(plan()).not.toContain('a');
  });

  it.each<UpstreamFailureKind>([
    'connect',
    'blocked_address',
    'first_byte_timeout',
    'idle_timeout',
    'total_timeout',
    'reset',
  ])('a %s is', (kind) => {
    router.report('a', failed(kind));
    expect(plan()).not.toContain('a');
  });

  it('forgets the streaks of upstreams that are gone', () => {
    for (let i = 0; i < 5_000; i += 1) {
      router.report(`gone-${i}`, failed());
      clock.ms += 1_000;
    }
    const streaks = (router as unknown as { coolDowns: { streaks: Map<string, unknown> } }).coolDowns.streaks;
    expect(streaks.size).toBeLessThanOrEqual(1_024);
  });
});
