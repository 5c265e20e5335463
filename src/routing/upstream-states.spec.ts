import { Logger } from '@nestjs/common';
import { failed, routable, RoutingStage, status } from '../../test/support/routing-stage';

const OPEN_MS = 10_000;

describe('the breaker of an upstream', () => {
  let stage: RoutingStage;

  beforeEach(() => {
    Logger.overrideLogger(false);
    stage = new RoutingStage({ upstreamBreakerFailures: 3, upstreamBreakerOpenMs: OPEN_MS });
    stage.known.m = [routable('a')];
  });
  afterEach(() => jest.restoreAllMocks());

  function open(id: string): void {
    for (let call = 0; call < 3; call += 1) stage.report(id, failed('reset'));
  }

  /** Ids of a plan that may have to wait for leave to try. */
  async function planned(): Promise<string[]> {
    const plan = await stage.router.plan('m');
    return 'code' in plan ? [plan.code, String(plan.retryAfterMs)] : plan.map(({ target }) => target.upstreamId);
  }

  it('keeps calls from it, also where there is no other: refused at once, with the time that is left', () => {
    open('a');
    stage.clock.ms += 4_000;
    expect(stage.plan()).toEqual(['NO_UPSTREAM_AVAILABLE', '6000']);
    expect(stage.router.take(stage.upstream('a'))).toBeUndefined();
    expect(stage.told).toEqual([`opened a ${OPEN_MS}`]);
  });

  it('leaves the others to be called', () => {
    stage.known.m = [routable('a'), routable('b')];
    open('a');
    expect(stage.plan()).toEqual(['b']);
  });

  it('lets the call that finds it due wait for leave, and try it', async () => {
    open('a');
    stage.clock.ms += OPEN_MS;
    expect(await planned()).toEqual(['a']);
    const trial = stage.take('a');
    expect(stage.plan()).toEqual(['NO_UPSTREAM_AVAILABLE', '1000']);
    expect(stage.router.take(stage.upstream('a'))).toBeUndefined();
    trial.leave(status(200));
    expect(stage.plan()).toEqual(['a']);
    expect(stage.told.slice(1)).toEqual(['asked a', 'closed a']);
  });

  it('is closed by the first byte of a stream, not only by its end', async () => {
    open('a');
    stage.clock.ms += OPEN_MS;
    await planned();
    const trial = stage.take('a');
    trial.began(stage.clock.ms);
    expect(stage.plan()).toEqual(['a']);
    trial.leave(failed('reset'));
    expect(stage.stateOf('a').breaker.state).toBe('closed');
  });

  it('opens for twice as long where the trial fails', async () => {
    open('a');
    stage.clock.ms += OPEN_MS;
    await planned();
    stage.take('a').leave(status(500));
    expect(stage.plan()).toEqual(['NO_UPSTREAM_AVAILABLE', '20000']);
    expect(stage.told.slice(1)).toEqual(['asked a', 'opened a 20000']);
  });

  it('lets the next call try where the gateway itself broke the trial off', async () => {
    open('a');
    stage.clock.ms += OPEN_MS;
    await planned();
    stage.take('a').leave();
    expect(stage.plan()).toEqual(['a']);
    stage.take('a').leave(status(400));
    expect(stage.stateOf('a').breaker.state).toBe('closed');
  });

  it('waits where another process tries, asks again a second later, and follows what that finds', async () => {
    open('a');
    stage.leaves.push(false, false);
    stage.clock.ms += OPEN_MS;
    expect(await planned()).toEqual(['NO_UPSTREAM_AVAILABLE', '1000']);
    expect(await planned()).toEqual(['NO_UPSTREAM_AVAILABLE', '1000']);
    stage.clock.ms += 1_000;
    expect(await planned()).toEqual(['NO_UPSTREAM_AVAILABLE', '1000']);
    expect(stage.told.slice(1)).toEqual(['asked a', 'asked a']);
    stage.others?.opened('a', 20_000);
    expect(stage.plan()).toEqual(['NO_UPSTREAM_AVAILABLE', '20000']);
    stage.others?.closed('a');
    expect(stage.plan()).toEqual(['a']);
  });

  it('does not keep a call waiting for a Redis that does not answer', async () => {
    open('a');
    stage.leaves.push(new Promise<boolean>(() => undefined));
    stage.clock.ms += OPEN_MS;
    expect(await planned()).toEqual(['NO_UPSTREAM_AVAILABLE', '1000']);
  });

  it('keeps nobody waiting who has another upstream, and tries first the one that is due', async () => {
    stage.known.m = [routable('a'), routable('b'), routable('spare', 1, 1)];
    open('a');
    open('spare');
    stage.clock.ms += OPEN_MS;
    expect(stage.plan()).toEqual(['b']);
    await Promise.all([stage.stateOf('a').asking, stage.stateOf('spare').asking]);
    expect(stage.plan()).toEqual(['a', 'b']);
    stage.take('a').leave(status(200));
    expect(stage.plan()).toEqual(['a', 'b']);
    expect(stage.stateOf('spare').breaker.state).toBe('half_open');
  });

  it('is opened and closed by what others tell', () => {
    stage.others?.opened('a', 7_000);
    expect(stage.plan()).toEqual(['NO_UPSTREAM_AVAILABLE', '7000']);
    stage.others?.closed('a');
    expect(stage.plan()).toEqual(['a']);
    expect(stage.told).toEqual([]);
  });

  it('says nothing of what answers that it has too much to do, nor of the caller’s faults', () => {
    for (let call = 0; call < 50; call += 1) {
      for (const value of [429, 400, 404, 408, 409, 413]) stage.report('a', status(value));
    }
    expect(stage.stateOf('a').breaker.state).toBe('closed');
  });

  it('keeps to the time that a trial is told to wait', async () => {
    open('a');
    stage.clock.ms += OPEN_MS;
    await planned();
    stage.take('a').leave(status(429, 5_000));
    expect(stage.stateOf('a').breaker.state).toBe('closed');
    expect(stage.plan()).toEqual(['NO_UPSTREAM_AVAILABLE', '5000']);
  });

  it('is in the metrics by the upstream’s name', async () => {
    open('a');
    stage.take('b');
    const { text } = await stage.metrics.scrape();
    expect(text).toContain('tollgate_upstream_breaker_level{upstream="a"} 2');
    expect(text).toContain('tollgate_upstream_breaker_level{upstream="b"} 0');
    expect(text).toContain('tollgate_upstream_breaker_opened_total{upstream="a"} 1');
    expect(text).toContain('tollgate_upstream_in_flight{upstream="b"} 1');
  });
});

describe('an upstream that is gone', () => {
  it('is not in the metrics as open for ever, and one that is called keeps what is known of it', async () => {
    const stage = new RoutingStage({ upstreamBreakerFailures: 3, upstreamBreakerOpenMs: OPEN_MS });
    for (let call = 0; call < 3; call += 1) stage.report('gone', failed());
    stage.report('called', status(500));
    const level = async (): Promise<string | undefined> =>
      /^tollgate_upstream_breaker_level\{upstream="gone"\} (\d)$/m.exec((await stage.metrics.scrape()).text)?.[1];
    stage.clock.ms += OPEN_MS;
    expect(await level()).toBe('2');
    stage.clock.ms += 590_000;
    stage.take('called').leave(status(200));
    const { factor } = stage.stateOf('called').score;
    stage.clock.ms += 10_000;
    expect(await level()).toBe('0');
    expect(stage.stateOf('called').score.factor).toBe(factor);
    expect(factor).toBeLessThan(1);
  });
});

describe('an upstream that refuses our credentials', () => {
  it('is counted each time and told once for each cool-down', async () => {
    const stage = new RoutingStage({ upstreamBreakerFailures: 0 });
    const errors = jest.spyOn(Logger.prototype, 'error').mockReturnValue(undefined);
    for (let call = 0; call < 10; call += 1) stage.report('a', status(call % 2 === 0 ? 401 : 403));
    expect(errors.mock.calls.map(([text]) => String(text))).toEqual([
      expect.stringMatching(/refuses our credentials \(401\)/),
    ]);
    stage.clock.ms += 60_000;
    stage.report('a', status(403));
    expect(errors).toHaveBeenCalledTimes(2);
    const { text } = await stage.metrics.scrape();
    expect(text).toContain('upstream_auth_failures_total{upstream="a"} 11');
    errors.mockRestore();
  });
});
