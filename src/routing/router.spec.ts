import { Logger } from '@nestjs/common';
import { type RoutableUpstream } from '../upstreams/upstream-directory';
import type { UpstreamFailureKind } from '../upstreams/upstream.port';
import { failed, routable as upstream, RoutingStage, status } from '../../test/support/routing-stage';

describe('Router', () => {
  let stage: RoutingStage;

  beforeEach(() => {
    Logger.overrideLogger(false);
    // Breakers have their own specs.
    stage = new RoutingStage({ upstreamBreakerFailures: 0 });
    stage.known.m = [upstream('a'), upstream('b', 0), upstream('spare', 1, 5)];
  });

  const plan = (): string[] => stage.plan();
  const coolDownOf = (id: string): number => stage.coolDownOf(id);

  it('orders by priority, then by weighted choice', () => {
    expect(plan()).toEqual(['a', 'b', 'spare']);
  });

  it('answers without a promise while the directory does', () => {
    expect(stage.router.plan('m')).not.toBeInstanceOf(Promise);
  });

  it('waits for a directory that has to read, and passes its failure on', async () => {
    stage.known.later = Promise.resolve([upstream('x')]);
    stage.known.never = Promise.reject(new Error('postgres is away'));
    await expect(stage.router.plan('later')).resolves.toHaveLength(1);
    await expect(stage.router.plan('never')).rejects.toThrow('postgres is away');
  });

  it('tells a model nobody has from one whose upstreams are all disabled', () => {
    stage.known.idle = [];
    expect(stage.router.plan('nobody')).toEqual({
      code: 'MODEL_NOT_FOUND',
      param: 'model',
      values: { model: 'nobody' },
    });
    expect(stage.router.plan('idle')).toEqual({ code: 'NO_UPSTREAM_AVAILABLE', values: { model: 'idle' } });
  });

  it('plans upstreams of the region that is asked for, and names one that nobody is in', () => {
    stage.known.m = [upstream('a'), { ...upstream('b'), region: 'eu' }, { ...upstream('c'), region: 'us-east' }];
    const inRegion = (region: string): unknown => {
      const planned = stage.router.plan('m', region);
      if (planned instanceof Promise) throw new Error('expected no promise');
      return 'code' in planned ? planned : planned.map(({ target }) => target.upstreamId);
    };
    expect([inRegion('eu'), inRegion('us-east')]).toEqual([['b'], ['c']]);
    expect(inRegion('mars')).toEqual({ code: 'NO_UPSTREAM_AVAILABLE', values: { model: 'm', region: 'mars' } });
  });

  it('draws as many as may be attempted and names others after them, each once and within bounds', () => {
    let drawn = 0;
    stage = new RoutingStage({ upstreamBreakerFailures: 0 }, () => ((drawn += 1) % 10) / 10);
    stage.known.m = Array.from({ length: 1_000 }, (_, index) => upstream(String(index)));
    const planned = plan();
    expect(drawn).toBe(3);
    expect(planned.slice(0, 5)).toEqual(['100', '200', '301', '0', '1']);
    expect([planned.length, new Set(planned).size]).toEqual([16, 16]);
    stage.known.m = stage.known.m.slice(0, 5);
    expect([...plan()].sort()).toEqual(['0', '1', '2', '3', '4']);
  });

  it('leaves out what cools down, and takes it back in time', () => {
    stage.report('a', failed());
    expect(plan()).toEqual(['b', 'spare']);
    expect(coolDownOf('a')).toBe(500);
    expect(plan()).toEqual(['a', 'b', 'spare']);
  });

  it('plans those that cool down by our own choice when all do, the soonest to end first', () => {
    stage.report('a', failed());
    stage.report('a', status(200));
    stage.clock.ms += 200;
    stage.report('b', failed('reset'));
    stage.report('spare', status(500));
    stage.clock.ms += 10;
    expect(plan()).toEqual(['b', 'spare', 'a']);
    stage.known.m = [upstream('a')];
    expect(plan()).toEqual(['a']);
  });

  it('keeps to what upstreams ask for, also where it is all there is: refused at once, with the soonest end', () => {
    stage.report('a', status(429, 9_000));
    stage.report('b', status(429, 3_000));
    stage.report('spare', status(529, 6_000));
    expect(plan()).toEqual(['NO_UPSTREAM_AVAILABLE', '3000']);
    expect(stage.router.take(stage.upstream('b'))).toBeUndefined();
    stage.clock.ms += 3_000;
    expect(plan()).toEqual(['b']);
    expect(stage.router.take(stage.upstream('b'))).toBeDefined();
  });

  it('doubles the cool-down of each failure that follows, within bounds', () => {
    const lengths = Array.from({ length: 9 }, () => {
      stage.report('a', failed());
      return coolDownOf('a');
    });
    expect(lengths).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('takes a burst of failures of calls that were under way for one', () => {
    for (let i = 0; i < 1_000; i += 1) stage.report('a', failed());
    expect(coolDownOf('a')).toBe(500);
  });

  it('starts anew after a success, but not for one that was under way before the failure', () => {
    stage.report('a', failed());
    stage.report('a', status(200));
    expect(coolDownOf('a')).toBe(500);
    stage.report('a', status(200));
    stage.report('a', failed());
    expect(coolDownOf('a')).toBe(500);
  });

  it('honours Retry-After of 429, 503 and 529, within bounds, and of nothing else', () => {
    stage.report('a', status(429, 45_000));
    expect(coolDownOf('a')).toBe(45_000);
    stage.report('b', status(503, 5_000));
    expect(coolDownOf('b')).toBe(5_000);
    stage.report('b', status(529, 4_000));
    expect(coolDownOf('b')).toBe(4_000);
    stage.report('b', status(200));
    stage.report('b', status(500, 5_000));
    expect(coolDownOf('b')).toBe(250);
    stage.report('spare', status(429, 86_400_000));
    expect(coolDownOf('spare')).toBe(600_000);
  });

  it('tells the others of what an upstream asked for, and keeps to what they tell', () => {
    stage.report('a', status(429, 2_000));
    stage.report('b', failed());
    for (let call = 0; call < 50; call += 1) stage.report('a', status(429, 2_000));
    expect(stage.told).toEqual(['cooling a 2000']);
    stage.report('a', status(429, 9_000));
    expect(stage.told).toEqual(['cooling a 2000', 'cooling a 9000']);
    stage.others?.cooling('spare', 5_000);
    expect(coolDownOf('spare')).toBe(5_000);
  });

  it('lengthens a running cool-down when a later answer asks for more, and never shortens it', () => {
    stage.report('a', status(429, 2_000));
    stage.report('a', status(429, 10_000));
    stage.report('a', status(429, 1_000));
    expect(coolDownOf('a')).toBe(10_000);
  });

  it.each([200, 400, 404, 408, 409, 413, 422])('a status of %i is no reason to leave an upstream alone', (value) => {
    stage.report('a', status(value));
    expect(plan()).toContain('a');
  });

  it.each([301, 401, 402, 403, 429, 500, 502, 503, 529])('a status of %i is', (value) => {
    stage.report('a', status(value));
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
    stage.report('a', failed(kind));
    expect(plan()).not.toContain('a');
  });

  it('forgets the states of upstreams that are gone', () => {
    for (let i = 0; i < 10_000; i += 1) {
      stage.report(`gone-${i}`, failed());
      stage.clock.ms += 1_000;
    }
    const { states } = stage.states as unknown as { states: Map<string, unknown> };
    expect(states.size).toBeLessThanOrEqual(4_096);
  });

  describe('places at an upstream', () => {
    const limited = (id: string, maxConcurrency: number): RoutableUpstream => ({ ...upstream(id), maxConcurrency });

    it('are as many as it takes at once; who finds it full takes the next, and where all are full is told when to come', () => {
      stage.known.m = [limited('a', 2), limited('b', 1)];
      const seats = [stage.take('a'), stage.take('a')];
      expect(plan()).toEqual(['b']);
      expect(stage.router.take(stage.upstream('a'))).toBeUndefined();
      const last = stage.take('b');
      expect(plan()).toEqual(['NO_UPSTREAM_AVAILABLE', '1000']);
      seats[0]?.leave(status(200));
      expect(plan()).toEqual(['a']);
      last.leave();
      expect(plan()).toEqual(['a', 'b']);
    });

    it.each<[string, (seat: ReturnType<RoutingStage['take']>) => void]>([
      [
        'an answer',
        (seat) => {
          seat.leave(status(200));
        },
      ],
      [
        'a stream',
        (seat) => {
          seat.began(1);
          seat.leave(status(200));
        },
      ],
      [
        'a failure',
        (seat) => {
          seat.leave(failed());
        },
      ],
      [
        'nothing said',
        (seat) => {
          seat.leave();
        },
      ],
    ])('are given back once, whatever ends the attempt: %s', (_, end) => {
      const [kept, ended] = [stage.take('a'), stage.take('a')];
      end(ended);
      end(ended);
      ended.leave(status(500));
      expect(stage.stateOf('a').inFlight).toBe(1);
      kept.leave();
      expect(stage.stateOf('a').inFlight).toBe(0);
    });
  });

  describe('health', () => {
    const factorOf = (id: string): number => stage.stateOf(id).score.factor;

    it('is 1 for who answers at once, and falls with failures and slow first bytes, never below 0.05', () => {
      expect(factorOf('a')).toBe(1);
      for (let i = 0; i < 200; i += 1) stage.report('a', failed());
      expect(factorOf('a')).toBeCloseTo(0.2, 5);
      const slow = stage.take('b');
      slow.began(stage.clock.ms + 2_000);
      expect(factorOf('b')).toBeCloseTo(0.5, 5);
      for (let i = 0; i < 200; i += 1) {
        stage.report('b', failed());
        stage.take('b').began(stage.clock.ms + 1e9);
      }
      expect(factorOf('b')).toBeCloseTo(0.05, 5);
    });

    it('comes back with answers', () => {
      for (let i = 0; i < 50; i += 1) stage.report('a', status(500));
      for (let i = 0; i < 50; i += 1) stage.report('a', status(200));
      expect(factorOf('a')).toBeGreaterThan(0.99);
    });

    it('makes the draw: who fails half the time gets less than its weight', () => {
      let seed = 1;
      const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
      stage = new RoutingStage({ upstreamBreakerFailures: 0 }, random);
      stage.known.m = [upstream('a', 100), upstream('b', 100)];
      for (let i = 0; i < 100; i += 1) stage.report('b', status(i % 2 === 0 ? 500 : 200));
      stage.clock.ms += 60_000;
      stage.report('b', status(200));
      const firsts = Array.from({ length: 10_000 }, () => plan()[0]);
      const share = firsts.filter((id) => id === 'b').length / firsts.length;
      const { factor } = stage.stateOf('b').score;
      expect(Math.abs(share - factor / (1 + factor))).toBeLessThan(0.03);
    });
  });
});
