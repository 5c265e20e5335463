import fc from 'fast-check';
import { nanoUsd } from '../../../src/kernel/money';
import type { HoldRequest, ReserveOutcome } from '../../../src/quota/quota-store.port';
import { type Admission, type Answer, type Ask, decide } from './decide';
import { expectAnswer, rolledOf, windowsOf } from './expectations';
import { limitsOf, REFUSAL_CODES } from './limits';
import type { Charge, StoreKind } from './model';
import type { Frozen } from './ledger-side';
import type { ProjectionSide } from './projection-side';
import { CALLERS } from './scenario';
import type { TenantRun } from './tenant-run';

interface Call {
  readonly caller: number;
  readonly amount: number;
  readonly tokens: number;
}

interface Ending {
  readonly pick: number;
  /** Of the hold; undefined gives it back. */
  readonly percent: number | undefined;
}

/** What happens at once, or alone before what comes next. */
export type Round =
  | { readonly kind: 'reserves'; readonly calls: readonly Call[]; readonly isSentTwice: boolean }
  | { readonly kind: 'endings'; readonly endings: readonly Ending[] }
  | {
      readonly kind: 'everything';
      readonly calls: readonly Call[];
      readonly endings: readonly Ending[];
      readonly credit: number;
    }
  | { readonly kind: 'time passes'; readonly seconds: number }
  | { readonly kind: 'flush' | 'expire' };

export const ROUND_KINDS: readonly Round['kind'][] = [
  'reserves',
  'endings',
  'everything',
  'time passes',
  'flush',
  'expire',
];

const call: fc.Arbitrary<Call> = fc.record({
  caller: fc.nat({ max: CALLERS - 2 }),
  amount: fc.integer({ min: 0, max: 40 }),
  tokens: fc.integer({ min: 0, max: 40 }),
});
const ending: fc.Arbitrary<Ending> = fc.record({
  pick: fc.nat({ max: 30 }),
  percent: fc.constantFrom(undefined, 0, 50, 100, 100),
});
const calls = fc.array(call, { minLength: 2, maxLength: 6, size: 'max' });
const endings = fc.array(ending, { minLength: 1, maxLength: 5, size: 'max' });
const fixed = fc.constant;

const roundsOf = (alone: readonly ('flush' | 'expire')[]): fc.Arbitrary<readonly Round[]> =>
  fc.array(
    fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fixed('reserves' as const), calls, isSentTwice: fc.boolean() }) },
      { weight: 4, arbitrary: fc.record({ kind: fixed('endings' as const), endings }) },
      {
        weight: 6,
        arbitrary: fc.record({ kind: fixed('everything' as const), calls, endings, credit: fc.nat({ max: 60 }) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fixed('time passes' as const),
          seconds: fc.constantFrom(1, 30, 61, 20_000, 90_000),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom(...alone) }) },
    ),
    { minLength: 2, maxLength: 8, size: 'max' },
  );

export function rounds(kind: StoreKind): fc.Arbitrary<readonly Round[]> {
  return roundsOf(kind === 'redis' ? ['flush', 'expire'] : ['expire']);
}

export async function play(run: TenantRun, round: Round): Promise<void> {
  run.tally.count(round.kind);
  switch (round.kind) {
    case 'reserves':
      // Of two copies in one batch Postgres answers but one: nobody sends a reserve again while it is under way.
      await reserveAtOnce(run, round.calls, round.isSentTwice && run.system.kind === 'redis');
      break;
    case 'endings':
      await Promise.all(endAtOnce(run, round.endings).map((end) => end()));
      break;
    case 'everything':
      await everythingAtOnce(run, round);
      break;
    case 'time passes':
      run.model.moveTo(run.model.nowMs + round.seconds * 1000);
      break;
    case 'flush':
      await run.flush();
      break;
    case 'expire':
      await run.expire();
      break;
  }
  await run.adoptVersion();
  await run.compareAll();
  run.moveOn();
}

/** Answered as if they had come one after the other, in some order. */
async function reserveAtOnce(run: TenantRun, wanted: readonly Call[], isSentTwice: boolean): Promise<void> {
  const asks = wanted.map(({ caller, amount, tokens }) => run.callers.ask(caller, amount, tokens));
  const requests = asks.map((ask) => run.callers.requestOf(ask));
  for (const ask of asks) run.model.ask(ask);
  const send = (): Promise<ReserveOutcome[]> =>
    Promise.all(requests.map((request) => run.process.store.reserve(request)));
  const [outcomes = [], again = []] = await run.at(() => Promise.all(isSentTwice ? [send(), send()] : [send()]));
  again.forEach((outcome, at) => {
    if (outcome.admitted) expect(outcome).toEqual(outcomes[at]);
  });
  const admitted = inSomeOrder(run, asks, requests, outcomes);
  await Promise.all(admitted.map((charge) => run.begin(charge)));
}

interface Answered {
  readonly ask: Ask;
  readonly request: HoldRequest;
  readonly outcome: ReserveOutcome;
}

/** Throws where there is no order of one after the other in which the model gives these answers. */
function inSomeOrder(
  run: TenantRun,
  asks: readonly Ask[],
  requests: readonly HoldRequest[],
  outcomes: readonly ReserveOutcome[],
): readonly Charge[] {
  const answered = asks.flatMap((ask, at): Answered[] => {
    const [request, outcome] = [requests[at], outcomes[at]];
    return request && outcome ? [{ ask, request, outcome }] : [];
  });
  const { projection, nowMs: fromMs } = run.model;
  const order = projection === undefined ? answered : orderOf(run, projection, run.model.nowMs, answered);
  if (!order) throw new Error(`no order explains ${JSON.stringify(outcomes, bigints)}`);
  return order.flatMap(({ ask, request, outcome }) => {
    const charge = run.compare(ask, request, run.model.ask(ask), outcome, fromMs);
    if (!charge) return [];
    run.model.nowMs = after(run.model.nowMs, charge.frozen);
    return [charge];
  });
}

/** Whoever comes next comes no sooner than the windows that were opened. */
function after(nowMs: number, frozen: readonly Frozen[]): number {
  return Math.max(nowMs, ...frozen.map(({ startMs }) => startMs));
}

function orderOf(
  run: TenantRun,
  side: ProjectionSide,
  nowMs: number,
  left: readonly Answered[],
): readonly Answered[] | undefined {
  if (left.length === 0) return [];
  for (const next of left) {
    const { ask, request, outcome } = next;
    const predicted = decide(side, ask, nowMs, run.system.kind === 'redis');
    const frozen = explained(run, nowMs, predicted, outcome);
    if (!frozen) continue;
    const changed = side.copy();
    if (predicted.admitted) {
      const { funding, rolled } = predicted;
      const { amount, tokens } = ask;
      changed.hold(request.holdId, { processId: run.process.id, funding, frozen, rolled, amount, tokens });
    }
    const others = orderOf(
      run,
      changed,
      after(nowMs, frozen),
      left.filter((one) => one !== next),
    );
    if (others) return [next, ...others];
    // What was refused changes nothing: if it is not next, it is never.
    if (!predicted.admitted) return undefined;
  }
  return undefined;
}

/** What it counts, where this is what it was answered. */
function explained(
  run: TenantRun,
  nowMs: number,
  predicted: Answer,
  outcome: ReserveOutcome,
): readonly Frozen[] | undefined {
  try {
    return expectAnswer(predicted, outcome, nowMs, run.system.clock.nowMs()) ?? [];
  } catch {
    return undefined;
  }
}

function bigints(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}

/** Each of another charge; the model has them ended when this returns. */
function endAtOnce(run: TenantRun, wanted: readonly Ending[]): readonly (() => Promise<void>)[] {
  const open = run.model.charge(['open']).filter(({ processId }) => !run.model.deadProcesses.has(processId));
  return wanted.flatMap(({ pick, percent }) => {
    const [charge] = open.length === 0 ? [] : open.splice(pick % open.length, 1);
    if (!charge) return [];
    if (percent === undefined) return [() => run.void(charge)];
    return [() => run.settle(charge, Math.floor((Number(charge.ask.amount) * percent) / 100), 0)];
  });
}

/**
 * Reservations, endings and a credit, each seeing as much of the others as it happens to. Never more is admitted than
 * there is room for, and afterwards everything is what the answers say.
 */
async function everythingAtOnce(
  run: TenantRun,
  { calls: wanted, endings: ended, credit }: Extract<Round, { kind: 'everything' }>,
): Promise<void> {
  const asks = wanted.map(({ caller, amount, tokens }) => run.callers.ask(caller, amount, tokens));
  for (const ask of asks) await run.quote(ask);
  run.moveOn();
  const requests = asks.map((ask) => run.callers.requestOf(ask));
  const outcomes = await run.at(async () => {
    const [answered] = await Promise.all([
      Promise.all(requests.map((request) => run.process.store.reserve(request))),
      ...endAtOnce(run, ended).map((end) => end()),
      ...(credit > 0 ? [run.creditAmong(BigInt(credit))] : []),
    ]);
    return answered;
  });
  const admitted = asks.flatMap((ask, at) => {
    const [request, outcome] = [requests[at], outcomes[at]];
    if (!request || !outcome?.admitted) {
      if (outcome && !outcome.admitted) expect(REFUSAL_CODES).toContain(outcome.refusal.code);
      return [];
    }
    return [{ ask, request, hold: outcome.hold }];
  });
  const firstStart = ({ counted }: (typeof admitted)[number]['hold']): number =>
    Math.max(0, ...counted.map(({ startMs }) => startMs));
  admitted.sort((a, b) => firstStart(a.hold) - firstStart(b.hold));
  const charges = admitted.map(({ ask, request, hold }) => {
    expectRoom(ask, hold);
    const answer: Admission = {
      admitted: true,
      funding: hold.funding,
      uses: [],
      rolled: rolledOf(hold),
      available: nanoUsd(hold.balanceBefore),
    };
    return run.keep({ ask, request, hold, answer, frozen: windowsOf(hold) });
  });
  await Promise.all(charges.map((charge) => run.begin(charge)));
}

/** Whatever it came among: with this hold no limit was exceeded, and the tenant's money covered it. */
function expectRoom(ask: Ask, hold: Extract<ReserveOutcome, { admitted: true }>['hold']): void {
  const limits = limitsOf(ask.caller);
  for (const { counter, used } of hold.counted) {
    const limit = limits.find((one) => one.counter === counter)?.limit ?? 0n;
    expect({ counter, isWithin: used <= limit }).toEqual({ counter, isWithin: true });
  }
  if (hold.funding === 'wallet' && ask.amount > 0n) expect(hold.balanceBefore).toBeGreaterThanOrEqual(ask.amount);
}
