import { nanoUsd, toDecimalUsd } from '../../../src/kernel/money';
import type { AdmittedHold, ReserveOutcome } from '../../../src/quota/quota-store.port';
import type { Admission, Answer, Roll } from './decide';
import type { Frozen } from './ledger-side';

/** What was counted, where it was admitted; throws where it is not what was predicted. */
export function expectAnswer(
  predicted: Answer,
  outcome: ReserveOutcome,
  fromMs: number,
  untilMs: number,
): readonly Frozen[] | undefined {
  if (predicted.admitted) {
    expect(outcome).toMatchObject({ admitted: true });
    return outcome.admitted ? expectAdmission(predicted, outcome.hold, fromMs, untilMs) : undefined;
  }
  const { code, limit, used, available, resetsAtMs } = predicted;
  expect(outcome).toMatchObject({ admitted: false, refusal: { code } });
  if (outcome.admitted) return undefined;
  const { refusal } = outcome;
  if (available !== undefined) expect(refusal.values).toMatchObject({ available: toDecimalUsd(nanoUsd(available)) });
  if (limit === undefined) return undefined;
  expect(refusal.quota).toMatchObject({ limit, used });
  // A window that this hold would have opened ends by the clock of who refused it.
  const reset = refusal.windowResetsAt?.getTime();
  if (resetsAtMs === undefined) expect(reset).toBeUndefined();
  else {
    expect(reset).toBeGreaterThanOrEqual(resetsAtMs);
    expect(reset).toBeLessThanOrEqual(resetsAtMs + (untilMs - fromMs));
  }
  return undefined;
}

/** Windows that the hold opens begin when it was admitted, all at the same moment. */
export function expectAdmission(
  { funding, uses, rolled, available }: Admission,
  hold: AdmittedHold,
  fromMs: number,
  untilMs: number,
): readonly Frozen[] {
  const counted = windowsOf(hold);
  const frozen = uses.map(({ counter, measure, startMs, endMs, opens }): Frozen => {
    const real = counted.find((one) => one.counter === counter);
    if (!opens || !real) return { counter, measure, startMs, endMs };
    expect(real.startMs).toBeGreaterThanOrEqual(fromMs);
    expect(real.startMs).toBeLessThanOrEqual(untilMs);
    return { counter, measure, startMs: real.startMs, endMs: endMs - startMs + real.startMs };
  });
  expect(counted).toEqual(frozen);
  expect(hold).toMatchObject({ funding, balanceBefore: available });
  expect(
    hold.counted.filter(({ isRolling }) => isRolling).map(({ counter, startMs }) => [counter, startMs / 1000]),
  ).toEqual(rolled.map(({ counter, second }) => [counter, second]));
  expect(Object.fromEntries(hold.counted.map(({ counter, used }) => [counter, used]))).toEqual(
    Object.fromEntries([...uses, ...rolled].map(({ counter, used }) => [counter, used])),
  );
  return frozen;
}

export function windowsOf({ counted }: AdmittedHold): readonly Frozen[] {
  return counted.flatMap(({ isRolling, counter, measure, startMs, endMs }) =>
    isRolling
      ? []
      : [{ counter, measure: measure === 'usd' ? ('usd' as const) : ('requests' as const), startMs, endMs }],
  );
}

export function rolledOf({ counted }: AdmittedHold): readonly Roll[] {
  return counted.flatMap(({ isRolling, counter, measure, startMs, used }) =>
    isRolling ? [{ counter, measure: measure === 'tokens' ? 'tokens' : 'requests', second: startMs / 1000, used }] : [],
  );
}
