import { HoldCoverage } from '../../catalogue/hold-coverage';
import { type FrozenPrice, NO_TOKENS } from '../../catalogue/price';
import { refuse } from '../../kernel/errors';
import { nanoUsd } from '../../kernel/money';
import { Metrics } from '../../platform/metrics/metrics';
import { cost, HOLD, INPUT, PRICE, PROFILE, ScriptedCharge } from '../../../test/support/guard-harness';
import type { CountableAnswer, CountedTokens } from './count-tokens';
import { type GuardCut, type GuardedStream, type GuardRules, StreamGuard } from './stream-guard';

const RULES: GuardRules = { refused: 'cut', overdraft: nanoUsd(0n), blocks: true };

/** Takes frames of one token each, as the quick count has it. */
class ScriptedStream implements GuardedStream {
  passed = 0;
  waits = false;
  cutBy: GuardCut | undefined;
  private wanted = 0;

  constructor(private readonly guard: StreamGuard) {
    guard.guard(this);
  }

  answerSoFar(): CountableAnswer {
    return { isUsageFinal: false, chunks: this.passed, writtenTokens: this.passed, text: () => undefined };
  }

  /** Until so many have passed, or one has to wait. */
  write(upTo: number): void {
    this.wanted = upTo;
    while (!this.waits && this.passed < upTo) {
      if (this.guard.admits(this.passed + 1)) this.passed += 1;
      else this.waits = true;
    }
  }

  goOn(): void {
    this.waits = false;
    this.write(this.wanted);
  }

  cut(cut: GuardCut): void {
    this.cutBy = cut;
  }
}

interface Scene {
  readonly charge: ScriptedCharge;
  readonly stream: ScriptedStream;
  readonly guard: StreamGuard;
  outcomes(metric: string): Promise<Readonly<Record<string, number>>>;
}

/** @param count exact output tokens of so many that the quick count has; undefined where nobody can count */
function scene(
  balance: bigint,
  options: { rules?: Partial<GuardRules>; count?: (written: number) => number | undefined; price?: FrozenPrice } = {},
): Scene {
  const charge = new ScriptedCharge(balance);
  const metrics = new Metrics();
  const price = options.price ?? PRICE;
  const count = options.count ?? ((): undefined => undefined);
  const counted = ({ writtenTokens = 0 }: CountableAnswer): CountedTokens => {
    const output = count(writtenTokens);
    return output === undefined
      ? { tokens: NO_TOKENS, method: 'estimated' }
      : { tokens: { ...NO_TOKENS, inputUncached: 10, output }, method: 'tokenizer' };
  };
  const coverage = new HoldCoverage(INPUT, PROFILE, price);
  const rules = { ...RULES, ...options.rules };
  const guard = new StreamGuard(charge, coverage, coverage.reservedTokens, price, rules, counted, metrics);
  const outcomes = async (metric: string): Promise<Record<string, number>> => {
    const { text } = await metrics.scrape();
    const samples = text.matchAll(new RegExp(`^${metric}\\{outcome="(\\w+)"\\} (\\d+)$`, 'gm'));
    return Object.fromEntries([...samples].map(([, outcome = '', value]) => [outcome, Number(value)]));
  };
  return { charge, stream: new ScriptedStream(guard), guard, outcomes };
}

/** Every promise that is due has been kept. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the guard of a stream', () => {
  it('asks nobody up to 80 % of what is held', async () => {
    const { charge, stream } = scene(10n ** 9n);
    stream.write(80);
    await settled();
    expect([stream.passed, charge.asked]).toEqual([80, []]);
  });

  it('doubles the output that is held for past 80 %, while the stream goes on', async () => {
    const { charge, stream } = scene(10n ** 9n);
    charge.silent();
    stream.write(100);
    expect([stream.passed, stream.waits, charge.asked]).toEqual([100, false, [cost(200)]]);
    charge.answers();
    await settled();
    stream.write(160);
    expect(charge.asked).toHaveLength(1);
    stream.write(161);
    await settled();
    expect(charge.asked).toEqual([cost(200), cost(400)]);
  });

  it('lets a stream wait at 100 % until the larger hold is durable, and then go on where it was', async () => {
    const { charge, stream, outcomes } = scene(10n ** 9n);
    charge.silent();
    stream.write(150);
    await settled();
    expect([stream.passed, stream.waits]).toEqual([100, true]);
    charge.answers();
    await settled();
    expect([stream.passed, stream.waits, stream.cutBy]).toEqual([150, false, undefined]);
    expect(await outcomes('tollgate_stream_extensions_total')).toEqual({ granted: 1 });
    expect(await outcomes('tollgate_stream_guard_total')).toEqual({});
  });

  it('asks few times for a long stream', async () => {
    const { charge, stream } = scene(10n ** 12n);
    for (let written = 100; written <= 50_000; written += 100) {
      stream.write(written);
      await settled();
    }
    expect([stream.passed, charge.asked.length]).toEqual([50_000, 10]);
  });

  it('takes what the limit still has where the double is refused', async () => {
    const { charge, stream, outcomes } = scene(cost(150));
    stream.write(130);
    await settled();
    expect([stream.passed, charge.asked, charge.held.amount]).toEqual([
      130,
      [cost(200), cost(150), cost(300)],
      cost(150),
    ]);
    stream.write(400);
    await settled();
    expect([stream.passed, stream.cutBy]).toEqual([150, { reason: 'guard_cut', limit: 'balance', budget: cost(150) }]);
    expect(await outcomes('tollgate_stream_extensions_total')).toEqual({ granted: 1, refused: 2 });
    expect(await outcomes('tollgate_stream_guard_total')).toEqual({ cut: 1 });
  });

  it('does not ask for crumbs', async () => {
    const { charge, stream } = scene(cost(105));
    stream.write(400);
    await settled();
    expect([stream.passed, charge.asked, charge.held.amount]).toEqual([100, [cost(200)], HOLD]);
  });

  it('asks once more at 100 %: money may have come in', async () => {
    const { charge, stream } = scene(HOLD);
    stream.write(95);
    await settled();
    charge.balance = 10n ** 9n;
    stream.write(150);
    await settled();
    expect([stream.passed, stream.cutBy]).toEqual([150, undefined]);
  });

  it.each([
    ['more than there is', 0.8, 125],
    ['less than there is', 2, 90],
  ])('goes by the exact count where the quick one sees %s', async (_, tokensPerWritten, passed) => {
    const { charge, stream } = scene(HOLD, { count: (written) => Math.round(written * tokensPerWritten) });
    stream.write(81);
    await settled();
    for (let more = 82; more <= 500; more += 1) {
      stream.write(more);
      await settled();
    }
    expect(stream.cutBy).toMatchObject({ reason: 'guard_cut' });
    // Within a hundredth of what the hold covers; but what had passed when it first asked, had passed.
    expect(Math.abs(stream.passed - Math.max(81, Math.min(passed, 100 / tokensPerWritten)))).toBeLessThanOrEqual(2);
    expect(charge.held.amount).toBe(HOLD);
  });

  it('counts a bounded number of times', async () => {
    let counted = 0;
    const { stream } = scene(HOLD, { count: (written) => (counted++, Math.min(99, written)) });
    for (let written = 1; written < 1_000; written += 1) {
      stream.write(written);
      await settled();
    }
    expect(stream.cutBy).toBeDefined();
    expect(counted).toBeLessThanOrEqual(6);
  });

  it('cuts where nobody can be asked, after a second try', async () => {
    const { charge, stream, outcomes } = scene(10n ** 9n);
    charge.isAway = true;
    stream.write(90);
    await settled();
    stream.write(400);
    await settled();
    expect([stream.passed, stream.cutBy]).toEqual([100, { reason: 'guard_cut', limit: 'unavailable', budget: HOLD }]);
    expect(charge.asked).toHaveLength(2);
    expect(await outcomes('tollgate_stream_extensions_total')).toEqual({ unavailable: 2 });
  });

  it('does not let a stream wait for a second try where it waited for the first', async () => {
    const { charge, stream } = scene(10n ** 9n);
    charge.isAway = true;
    stream.write(400);
    await settled();
    expect([stream.passed, charge.asked.length, stream.cutBy?.limit]).toEqual([100, 1, 'unavailable']);
  });

  it('goes on where whoever was away answers again', async () => {
    const { charge, stream } = scene(10n ** 9n);
    charge.isAway = true;
    stream.write(90);
    await settled();
    charge.isAway = false;
    stream.write(150);
    await settled();
    expect([stream.passed, stream.cutBy]).toEqual([150, undefined]);
  });

  it('names the limit that refused', async () => {
    const { charge, stream } = scene(10n ** 9n);
    const quota = { scope: 'key_budget', measure: 'usd', limit: 100n, used: 100n } as const;
    jest.spyOn(charge, 'extend').mockResolvedValue(refuse('QUOTA_BUDGET_EXCEEDED', { quota }));
    stream.write(400);
    await settled();
    expect(stream.cutBy?.limit).toBe('key_budget');
  });

  it('lets the stream finish by policy, and asks no more', async () => {
    const { charge, stream, outcomes } = scene(HOLD, { rules: { refused: 'finish' } });
    stream.write(10_000);
    await settled();
    expect([stream.passed, stream.cutBy, charge.asked.length]).toEqual([10_000, undefined, 1]);
    expect(await outcomes('tollgate_stream_guard_total')).toEqual({ finish: 1 });
  });

  it.each(['cut', 'finish', 'overdraft'] as const)('counts and passes in shadow mode under %s', async (refused) => {
    const { stream, outcomes } = scene(HOLD, { rules: { refused, blocks: false } });
    stream.write(10_000);
    await settled();
    expect([stream.passed, stream.cutBy]).toEqual([10_000, undefined]);
    expect(await outcomes('tollgate_stream_guard_total')).toEqual({ shadow: 1 });
  });

  it('goes on by overdraft up to the amount, and is cut then', async () => {
    const { stream, outcomes } = scene(HOLD, { rules: { refused: 'overdraft', overdraft: nanoUsd(100_000n) } });
    stream.write(10_000);
    await settled();
    expect([stream.passed, stream.cutBy]).toEqual([
      150,
      { reason: 'guard_overdraft_cut', limit: 'balance', budget: HOLD + 100_000n },
    ]);
    expect(await outcomes('tollgate_stream_guard_total')).toEqual({ overdraft: 1, overdraft_cut: 1 });
  });

  it('never guards output that costs nothing', async () => {
    const perMillionTokens = { ...PRICE.perMillionTokens, output: 0n, reasoning: 0n };
    const { charge, stream } = scene(HOLD, { price: { ...PRICE, perMillionTokens } });
    stream.write(10_000);
    await settled();
    expect([stream.passed, charge.asked]).toEqual([10_000, []]);
  });

  it('asks and decides nothing more for a stream that is over', async () => {
    const { charge, stream, guard, outcomes } = scene(cost(150));
    charge.silent();
    stream.write(400);
    guard.end();
    charge.answers();
    await settled();
    expect([stream.passed, stream.cutBy, charge.asked]).toEqual([100, undefined, [cost(200)]]);
    expect(await outcomes('tollgate_stream_extensions_total')).toEqual({});
    expect(await outcomes('tollgate_stream_guard_total')).toEqual({});
  });

  it('holds for a frame that alone is more than the hold, before it passes', async () => {
    const { charge, guard } = scene(10n ** 9n);
    const goOn = jest.fn();
    guard.guard({ answerSoFar: () => ({ isUsageFinal: false, chunks: 0, text: () => undefined }), goOn, cut: goOn });
    expect(guard.admits(5_000)).toBe(false);
    await settled();
    expect(goOn).toHaveBeenCalledTimes(1);
    expect([guard.admits(5_000), charge.asked]).toEqual([true, [cost(10_000)]]);
  });
});
