import fc from 'fast-check';
import { voidFields } from '../../../src/billing/writer/charge-rows';
import { nanoUsd } from '../../../src/kernel/money';
import type { Charge } from './model';
import { CALLERS, limitChange } from './scenario';
import type { TenantRun } from './tenant-run';

/** One thing that happens to the tenant. Where there is nothing that it could happen to, it does not. */
class Step implements fc.AsyncCommand<TenantRun, TenantRun> {
  constructor(
    private readonly name: string,
    private readonly args: string,
    private readonly isPossible: (run: Readonly<TenantRun>) => boolean,
    private readonly act: (run: TenantRun) => Promise<void>,
  ) {}

  check(run: Readonly<TenantRun>): boolean {
    return this.isPossible(run);
  }

  async run(run: TenantRun): Promise<void> {
    run.tally.count(this.name);
    await this.act(run);
    await run.compareAll();
    run.moveOn();
  }

  toString(): string {
    return `${this.name}(${this.args})`;
  }
}

interface StepKind {
  readonly name: string;
  readonly weight: number;
  readonly steps: fc.Arbitrary<Step>;
}

function step<A>(
  name: string,
  weight: number,
  args: fc.Arbitrary<A>,
  act: (run: TenantRun, args: A) => Promise<void>,
  isPossible: (run: Readonly<TenantRun>) => boolean = () => true,
): StepKind {
  return {
    name,
    weight,
    steps: args.map((given) => new Step(name, JSON.stringify(given), isPossible, (run) => act(run, given))),
  };
}

const amount = fc.oneof(fc.integer({ min: 0, max: 45 }), fc.constantFrom(0, 1, 60, 150));
const pick = fc.nat({ max: 30 });
const call = fc.record({
  caller: fc.oneof(
    { weight: 19, arbitrary: fc.nat({ max: CALLERS - 2 }) },
    { weight: 1, arbitrary: fc.constant(CALLERS - 1) },
  ),
  amount,
  tokens: fc.integer({ min: 0, max: 60 }),
});

function chosen<T>(from: readonly T[], at: number): T {
  const found = from[at % from.length];
  if (found === undefined) throw new Error('nothing to choose from');
  return found;
}

/** Open charges of processes that live, also of those that were taken for dead. */
const open = (run: Readonly<TenantRun>): readonly Charge[] => run.model.charge(['open']);
const unbegun = (run: Readonly<TenantRun>): readonly Charge[] => run.model.charge(['unbegun']);
const swept = (run: Readonly<TenantRun>, charges: readonly Charge[]): readonly Charge[] =>
  charges.filter(({ processId }) => run.model.deadProcesses.has(processId));
const living = (run: Readonly<TenantRun>, charges: readonly Charge[]): readonly Charge[] =>
  charges.filter(({ processId }) => !run.model.deadProcesses.has(processId));
/** Charges whose row has ended, and of which the projection has heard. */
const told = (run: Readonly<TenantRun>): readonly Charge[] =>
  [...run.model.charges.values()].filter(
    ({ id }) =>
      (run.model.ledger.rows.get(id)?.status ?? 'PENDING') !== 'PENDING' && !run.model.projection?.holds.has(id),
  );
const committed = (run: Readonly<TenantRun>): readonly string[] =>
  [...run.model.ledger.rows.values()].filter(({ status }) => status === 'COMMITTED').map(({ id }) => id);

const usage = fc.record({
  pick,
  /** Of the hold; beyond it where more than 100. */
  percent: fc.constantFrom(0, 30, 50, 100, 100, 130),
  input: fc.integer({ min: 0, max: 30 }),
});

function settleBy(run: TenantRun, charge: Charge, percent: number, input: number, isTold = true): Promise<void> {
  const hold = Number(run.model.ledger.rows.get(charge.id)?.hold ?? charge.ask.amount);
  return run.settle(charge, Math.ceil((hold * percent) / 100), input, isTold);
}

const CALLS: readonly StepKind[] = [
  step('reserve and begin', 54, call, async (run, { caller, amount: most, tokens }) => {
    const charge = await run.reserve(run.callers.ask(caller, most, tokens));
    if (charge) await run.begin(charge);
  }),
  step('reserve alone', 14, call, async (run, { caller, amount: most, tokens }) => {
    await run.reserve(run.callers.ask(caller, most, tokens));
  }),
  step(
    'begin',
    12,
    fc.record({ pick }),
    (run, at) => run.begin(chosen(unbegun(run), at.pick)),
    (run) => unbegun(run).length > 0,
  ),
  step(
    'begin and settle at once',
    8,
    usage,
    (run, at) => run.beginAndSettle(chosen(living(run, unbegun(run)), at.pick), at.percent, at.input),
    (run) => living(run, unbegun(run)).length > 0,
  ),
  step(
    'release',
    8,
    fc.record({ pick }),
    (run, at) => run.release(chosen(living(run, unbegun(run)), at.pick)),
    (run) => living(run, unbegun(run)).length > 0,
  ),
  step(
    'settle',
    34,
    usage,
    (run, at) => settleBy(run, chosen(living(run, open(run)), at.pick), at.percent, at.input),
    (run) => living(run, open(run)).length > 0,
  ),
  step(
    'void',
    9,
    fc.record({ pick }),
    (run, at) => run.void(chosen(living(run, open(run)), at.pick)),
    (run) => living(run, open(run)).length > 0,
  ),
  step(
    'late settle',
    20,
    usage,
    (run, at) => settleBy(run, chosen(swept(run, open(run)), at.pick), at.percent, at.input),
    (run) => swept(run, open(run)).length > 0,
  ),
  step(
    'late void',
    16,
    fc.record({ pick }),
    (run, at) => run.void(chosen(swept(run, open(run)), at.pick)),
    (run) => swept(run, open(run)).length > 0,
  ),
  step(
    'extend',
    14,
    fc.record({ pick, by: fc.integer({ min: 0, max: 80 }) }),
    (run, at) => run.extend(chosen(living(run, open(run)), at.pick), at.by),
    (run) => living(run, open(run)).length > 0,
  ),
  step('quote', 2, call, (run, { caller, amount: most, tokens }) => run.quote(run.callers.ask(caller, most, tokens))),
];

const MONEY: readonly StepKind[] = [
  step(
    'credit',
    3,
    fc.record({
      account: fc.constantFrom('wallet' as const, 'promo' as const),
      amount: fc.integer({ min: 1, max: 200 }),
    }),
    (run, { account, amount: credit }) => run.adjust(account, BigInt(credit)),
  ),
  step(
    'debit',
    2,
    fc.record({
      account: fc.constantFrom('wallet' as const, 'promo' as const),
      amount: fc.integer({ min: 1, max: 200 }),
    }),
    (run, { account, amount: debit }) => run.adjust(account, -BigInt(debit)),
  ),
  step('adjust again', 1, fc.record({ pick }), (run, at) => run.repeatAdjustment(at.pick)),
  step(
    'refund',
    5,
    fc.record({ pick }),
    (run, at) => run.refund(chosen(committed(run), at.pick)),
    (run) => committed(run).length > 0,
  ),
];

const RESENDS: readonly StepKind[] = [
  step(
    'reserve again',
    6,
    fc.record({ pick }),
    (run, at) => run.resend(chosen([...run.model.charges.values()], at.pick)),
    (run) => run.model.charges.size > 0,
  ),
  step(
    'tell again',
    5,
    fc.record({ pick, ago: pick }),
    (run, at) => tellAgain(run, chosen(told(run), at.pick), at.ago),
    (run) => told(run).length > 0,
  ),
  step(
    'end again',
    3,
    fc.record({ pick, isCommit: fc.boolean() }),
    (run, at) => endAgain(run, chosen(told(run), at.pick), at.isCommit),
    (run) => told(run).length > 0,
  ),
];

const WORLD: readonly StepKind[] = [
  step(
    'time passes',
    14,
    fc.oneof(
      fc.record({ seconds: fc.constantFrom(1, 7, 20, 45, 61) }),
      fc.record({ seconds: fc.constantFrom(3_600, 11_000, 50_000, 90_000, 640_000, 2_700_000) }),
      fc.record({ toEndOf: pick }),
      fc.record({ beforeEndOf: pick }),
    ),
    (run, how) => {
      pass(run, how);
      return Promise.resolve();
    },
  ),
  step('the clock is set back', 3, fc.record({ seconds: fc.integer({ min: 1, max: 240 }) }), (run, { seconds }) => {
    run.model.setBack(seconds * 1000);
    return Promise.resolve();
  }),
  step('a limit changes', 6, limitChange, (run, [name, value]) => {
    run.callers.setLimit(name, value);
    return Promise.resolve();
  }),
  step('crash', 1, fc.constant(null), (run) => run.crash()),
  step('crash after a commit', 2, usage, async (run, at) => {
    const own = open(run).filter(({ processId }) => processId === run.process.id);
    run.process.sever();
    if (own.length > 0) await settleBy(run, chosen(own, at.pick), at.percent, at.input, false);
    await run.crash();
  }),
  step(
    'crash after an adjustment',
    1,
    fc.record({ amount: fc.integer({ min: 1, max: 100 }) }),
    async (run, { amount: credit }) => {
      run.process.sever();
      await run.adjust('wallet', BigInt(credit), false);
      await run.crash();
    },
  ),
  step(
    'sweep',
    8,
    fc.record({ pick }),
    (run, at) => {
      const [dead] = run.crashed.splice(at.pick % run.crashed.length, 1);
      return dead ? run.sweep(dead) : Promise.resolve();
    },
    (run) => run.crashed.length > 0,
  ),
  step('expire', 4, fc.constant(null), (run) => run.expire()),
];

const REDIS_ALONE: readonly StepKind[] = [
  step('a new epoch', 6, fc.constant(null), async (run) => {
    await run.system.raiseEpoch();
    run.model.raiseEpoch();
  }),
  step('flush', 3, fc.constant(null), (run) => run.flush()),
  step('rebuild in place', 2, fc.constant(null), async (run) => {
    await run.at(() => run.system.rebuild(run.tenantId));
    run.model.rebuild();
  }),
];

/** Forward: some seconds, or to where a window ends, or to just before that. */
function pass(run: TenantRun, how: { seconds?: number; toEndOf?: number; beforeEndOf?: number }): void {
  const { model } = run;
  const ends = model
    .windows()
    .map(({ endMs }) => endMs)
    .filter((endMs) => endMs > model.nowMs);
  const before = (endMs: number): number => Math.floor((endMs - 300) / 1000) * 1000;
  if (how.seconds !== undefined || ends.length === 0) model.moveTo(model.nowMs + (how.seconds ?? 5) * 1000);
  else if (how.toEndOf !== undefined) model.moveTo(chosen(ends, how.toEndOf));
  else model.moveTo(Math.max(model.nowMs, before(chosen(ends, how.beforeEndOf ?? 0))));
}

/** What an ended charge came to, with a balance of earlier, by somebody who does not know that it was told. */
async function tellAgain(run: TenantRun, { id }: Charge, ago: number): Promise<void> {
  const row = run.model.ledger.rows.get(id);
  if (row?.status === 'COMMITTED') {
    const { posted, version } = chosen(run.model.postings, ago);
    const ended = { holdId: id, amount: nanoUsd(row.amount), tokens: row.tokens };
    await run.process.store.settle(run.tenantId, [ended], { posted: nanoUsd(posted), version });
    run.model.tell({ posted, version });
  } else await run.process.store.release(run.tenantId, [id]);
}

/** A second ending of the row, whatever it says: the first one stands. */
async function endAgain(run: TenantRun, { id, ask }: Charge, isCommit: boolean): Promise<void> {
  const result = await run.system.writer.write({
    ...voidFields({ reasonCode: 'AGAIN', endReason: 'failed' }),
    id,
    tenant_id: run.tenantId,
    credit_limit_nano_usd: ask.caller.creditLimit.toString(),
    is_new: false,
    ...(isCommit ? { is_commit: true, amount_nano_usd: '7', counting_method: 'usage', tokens_output: 7 } : {}),
  });
  const { status } = run.model.ledger.rows.get(id) ?? {};
  expect(result.outcome).toBe(status === 'COMMITTED' ? 'already_committed' : 'already_voided');
}

const STEPS = {
  redis: [...CALLS, ...MONEY, ...RESENDS, ...WORLD, ...REDIS_ALONE],
  postgres: [...CALLS, ...MONEY, ...RESENDS, ...WORLD],
} as const;

export function stepNames(kind: 'redis' | 'postgres'): readonly string[] {
  return STEPS[kind].map(({ name }) => name);
}

/** @param replayPath of a failure that fast-check has printed, so that its commands are the same again */
export function commands(
  kind: 'redis' | 'postgres',
  maxCommands: number,
  replayPath: string | undefined,
): fc.Arbitrary<Iterable<fc.AsyncCommand<TenantRun, TenantRun>>> {
  // fc.commands takes no weights: a kind of step is in the list as often as it weighs.
  const weighted = STEPS[kind].flatMap(({ weight, steps }) =>
    Array.from({ length: weight }, (): fc.Arbitrary<fc.AsyncCommand<TenantRun, TenantRun>> => steps),
  );
  const constraints = { maxCommands, size: 'max', ...(replayPath === undefined ? {} : { replayPath }) } as const;
  return fc.commands(weighted, constraints);
}
