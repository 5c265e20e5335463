import { type Admission, type Answer, type Ask, decide, type Refused } from './decide';
import { type Counter, type Frozen, LedgerSide, type Row } from './ledger-side';
import { limitsOf } from './limits';
import { type Hold, ProjectionSide } from './projection-side';
import { windowAround } from './calendar';

/** Clocks of one system differ by minutes at most. */
const MOST_SET_BACK_MS = 600_000;

const LATE_IN_SECOND_MS = 500;

export type StoreKind = 'redis' | 'postgres';

/** One reservation that was admitted, and what has become of it in the process that made it. */
export interface Charge {
  readonly id: string;
  readonly ask: Ask;
  readonly processId: string;
  /** Projections of the ledger so far, when it was admitted. */
  generation: number;
  frozen: readonly Frozen[];
  funding: Row['funding'];
  day: number;
  month: number;
  /** unbegun: no row yet; given_up: its process is gone, or was told that it has no charge. */
  phase: 'unbegun' | 'open' | 'ended' | 'given_up';
}

/** What became of the row of a hold: it stands, or why not. */
export type Begun = 'stands' | 'swept' | Refused;

export interface Posting {
  readonly posted: bigint;
  readonly version: bigint;
}

/**
 * Predicts one tenant: what the ledger has, what whoever decides has of it, and what a reservation is answered. It shares
 * nothing with the product but the names of counters and codes.
 */
export class QuotaModel {
  readonly ledger = new LedgerSide();
  readonly charges = new Map<string, Charge>();
  /** Every balance there was, oldest first. */
  readonly postings: Posting[] = [];
  readonly deadProcesses = new Set<string>();
  generation = 0;
  nowMs: number;
  private projected: ProjectionSide | undefined;
  /** Counters the projection has met. */
  private readonly met = new Set<string>();
  private installedIn = -1;
  /** An epoch has begun since it was projected: endings still reach it, and nobody reserves on it. */
  private isStale = false;
  private setBackMs = 0;

  constructor(
    readonly kind: StoreKind,
    nowMs: number,
  ) {
    this.nowMs = nowMs;
  }

  /** Undefined where Redis has nothing of the tenant. */
  get projection(): ProjectionSide | undefined {
    return this.kind === 'redis' ? this.projected : derive(this.ledger);
  }

  get metCounters(): ReadonlySet<string> {
    return this.met;
  }

  /** Windows whose end may lie just ahead. */
  windows(): Counter[] {
    return [...(this.projection ?? derive(this.ledger)).counters.values()];
  }

  charge(phases: readonly Charge['phase'][]): Charge[] {
    return [...this.charges.values()].filter(({ phase }) => phases.includes(phase));
  }

  /** A call that has to be reserved again has been counted in its minute already. */
  askAgain(ask: Ask): Answer {
    return this.ask(ask, false);
  }

  /** What is answered, with whatever asking alone brings about: a rebuild, counters that are met for the first time. */
  ask(ask: Ask, hasRates = true): Answer {
    const early = decide(new ProjectionSide(), ask, this.nowMs, false);
    if (!early.admitted && early.code === 'SUBSCRIPTION_INVALID') return early;
    this.wake();
    this.meet(ask);
    return decide(this.sure(), ask, this.nowMs, hasRates && this.kind === 'redis');
  }

  /** The hold that a resend of its reserve is answered from. */
  standing({ id, ask }: Charge): Hold | undefined {
    const early = decide(new ProjectionSide(), ask, this.nowMs, false);
    if (!early.admitted && early.code === 'SUBSCRIPTION_INVALID') return undefined;
    this.wake();
    return this.projection?.holds.get(id);
  }

  /** `frozen` and `rolled` are what the store has counted; the caller has compared them. */
  admit(charge: Charge, { funding, rolled }: Admission): void {
    this.charges.set(charge.id, charge);
    const { amount, tokens } = charge.ask;
    const { processId, frozen } = charge;
    this.projected?.hold(charge.id, { processId, funding, frozen, rolled, tokens, amount });
    if (this.kind === 'postgres') this.insert(charge, 'PENDING');
  }

  /** The PENDING row is written; `readmit` says what a reservation of the same hold is answered, where its epoch is over. */
  begin(charge: Charge): Begun | 'readmit' {
    charge.phase = 'open';
    if (this.kind === 'postgres') return 'stands';
    if (this.ledger.rows.has(charge.id) || this.deadProcesses.has(charge.processId)) return 'swept';
    if (charge.generation !== this.generation) return 'readmit';
    this.insert(charge, 'PENDING');
    return 'stands';
  }

  /** Its row stands in the epoch of the second reservation. */
  readmitted(charge: Charge): void {
    charge.generation = this.generation;
    if (this.kind === 'redis') this.insert(charge, 'PENDING');
  }

  /** The call was told that it has no charge: a VOIDED row stands in the way of whatever is still to come. */
  abandon(charge: Charge): void {
    charge.phase = 'given_up';
    if (!this.ledger.rows.has(charge.id)) this.insert(charge, 'VOIDED');
    this.projected?.end(charge.id);
  }

  settle(charge: Charge, amount: bigint, tokens: number, isTold = true): void {
    charge.phase = 'ended';
    const row = this.row(charge.id);
    if (row.status === 'PENDING') {
      this.ledger.commit(row, amount, tokens);
      if (isTold) this.projected?.end(charge.id, { amount, tokens });
    } else this.ledger.correct(row, amount);
    this.post(isTold);
  }

  void(charge: Charge): void {
    charge.phase = 'ended';
    const row = this.row(charge.id);
    if (row.status === 'PENDING') row.status = 'VOIDED';
    this.projected?.end(charge.id);
  }

  /** An ended charge was reserved once more, and that was given back: it is as it was. */
  forget(charge: Charge): void {
    this.projected?.end(charge.id);
    this.charges.set(charge.id, charge);
  }

  adoptVersion(version: bigint): void {
    if (this.projected?.version === this.ledger.version) this.projected.version = version;
    this.ledger.version = version;
  }

  /** A hold that nobody uses is given back. */
  release(charge: Charge): void {
    charge.phase = 'given_up';
    this.projected?.end(charge.id);
    const row = this.ledger.rows.get(charge.id);
    if (row?.status === 'PENDING') row.status = 'VOIDED';
  }

  /**
   * The charge raises its hold, which it follows into the current epoch where its own is over. True where it has the amount
   * afterwards.
   */
  raise(charge: Charge, amount: bigint): true | Refused {
    const before = charge.generation;
    // What its old projection still gives it is worth nothing: the row is of another epoch.
    const isOfOld = this.isStale && charge.generation === this.installedIn;
    const inOld = isOfOld ? this.canExtend(charge, amount) : 'gone';
    if (inOld !== true && inOld !== 'gone') return inOld;
    const raised = this.extend(charge, amount);
    if (raised !== 'gone') return raised;
    if (this.row(charge.id).status !== 'PENDING') return { admitted: false, code: 'BILLING_SERVICE_ERROR' };
    if (!this.standing(charge)) return { admitted: false, code: 'SUBSCRIPTION_INVALID' };
    charge.generation = this.generation;
    const again = this.extend(charge, amount);
    if (again !== true) charge.generation = before;
    return again === 'gone' ? { admitted: false, code: 'QUOTA_SERVICE_ERROR' } : again;
  }

  adjust(account: 'wallet' | 'promo', amount: bigint, isTold = true): boolean {
    const isTaken = this.ledger.adjust(account, amount);
    this.post(isTold && isTaken);
    return isTaken;
  }

  refund(row: Row): void {
    if (!row.isRefunded) this.ledger.refund(row);
    this.post(true);
  }

  /** What the ledger had at some time arrives, perhaps again. */
  tell({ posted, version }: Posting): void {
    if (!this.projected || version <= this.projected.version) return;
    this.projected.posted = posted;
    this.projected.version = version;
  }

  /** Late in a second the next one would begin before a command is through: then it is the next one. */
  moveTo(nowMs: number): void {
    this.nowMs = nowMs % 1000 > LATE_IN_SECOND_MS ? Math.ceil(nowMs / 1000) * 1000 : nowMs;
  }

  /** By small steps, and not far in all. */
  setBack(byMs: number): void {
    if (this.setBackMs + byMs > MOST_SET_BACK_MS) return;
    this.setBackMs += byMs;
    this.moveTo(this.nowMs - byMs);
  }

  flush(): void {
    this.projected = undefined;
    this.isStale = false;
  }

  /** A new epoch, for whatever reason. */
  raiseEpoch(): void {
    this.generation += 1;
    this.isStale = this.projected !== undefined;
  }

  /** What a dead process left is ended, and every balance told. */
  sweep(processId: string): void {
    this.deadProcesses.add(processId);
    for (const row of this.ledger.open()) if (row.processId === processId) row.status = 'VOIDED';
    let hasTold = !this.isStale;
    for (const [id, hold] of [...(this.projected?.holds ?? [])]) {
      if (hold.processId !== processId) continue;
      const charge = this.charges.get(id);
      if (charge && !this.ledger.rows.has(id)) this.insert(charge, 'VOIDED', false);
      const { status, amount, tokens } = this.row(id);
      hasTold ||= status === 'COMMITTED';
      this.projected?.end(id, status === 'COMMITTED' ? { amount, tokens } : undefined);
    }
    // Balances are told where a projection is current; with a charge that was not told, also where it is not.
    this.post(hasTold);
  }

  /** What Redis has is corrected in place: holds without a row stay, and with them what they count. */
  rebuild(): void {
    if (!this.projected || this.isStale) return;
    const before = this.projected;
    const after = derive(this.ledger);
    for (const [id, hold] of before.holds) {
      const status = this.ledger.rows.get(id)?.status;
      // A window that a newer one has followed counts no more, whichever of row and hold has the newer one.
      const frozen = hold.frozen.filter(({ counter, startMs }) => startMs >= after.counter(counter).startMs);
      if (status === undefined) after.hold(id, { ...hold, frozen, rolled: [] });
      if (status === undefined || status === 'PENDING') after.holds.set(id, hold);
    }
    for (const [counter, rate] of before.rates) after.rates.set(counter, rate);
    this.projected = after;
    this.met.clear();
  }

  /** I8, of the model: once everything is told, a counter is what committed charges and open holds have in its window. */
  checkItself(): void {
    const { projection, ledger } = this;
    if (!projection) return;
    const isTold = [...projection.holds.keys()].every((id) => (ledger.rows.get(id)?.status ?? 'PENDING') === 'PENDING');
    if (!isTold) return;
    for (const [name, { startMs, used }] of projection.counters) {
      const committed = ledger.counters.get(name);
      let sum = committed?.startMs === startMs ? committed.used : 0n;
      for (const { frozen, amount } of projection.holds.values()) {
        const counted = frozen.find((one) => one.counter === name && one.startMs === startMs);
        if (counted) sum += counted.measure === 'requests' ? 1n : amount;
      }
      if (sum !== used) throw new Error(`the model contradicts itself: ${name} has ${used}, its charges ${sum}`);
    }
  }

  /** 'gone': no such hold, or its epoch is over. */
  private extend(charge: Charge, amount: bigint): true | 'gone' | Refused {
    if (this.kind === 'redis' && charge.generation !== this.generation) return 'gone';
    const answer = this.canExtend(charge, amount);
    const hold = this.projection?.holds.get(charge.id);
    if (answer !== true || !hold || hold.amount >= amount) return answer;
    const row = this.row(charge.id);
    row.hold += amount - hold.amount;
    row.extended += amount - hold.amount;
    this.projected?.extend(hold, amount);
    return true;
  }

  private canExtend({ id, ask }: Charge, amount: bigint): true | 'gone' | Refused {
    const side = this.projection;
    const hold = side?.holds.get(id);
    if (!side || !hold) return 'gone';
    const delta = amount - hold.amount;
    if (delta <= 0n) return true;
    const available = side.posted + ask.caller.creditLimit - side.held;
    if (hold.funding === 'wallet' && delta > available) {
      return { admitted: false, code: 'QUOTA_BALANCE_EXCEEDED', available };
    }
    for (const { code, counter, limit, measure } of limitsOf(ask.caller)) {
      const frozen = hold.frozen.find((one) => one.counter === counter);
      const { startMs, endMs, used } = side.counter(counter);
      if (measure !== 'usd' || code === undefined || frozen?.startMs !== startMs || used + delta <= limit) continue;
      return { admitted: false, code, limit, used, ...(endMs > 0 ? { resetsAtMs: endMs } : {}) };
    }
    return true;
  }

  /** A tenant is projected when it is used; one whose projection is gone is projected in a new epoch. */
  private wake(): void {
    if (this.kind === 'postgres' || (this.projected && !this.isStale)) return;
    if (this.installedIn === this.generation) this.generation += 1;
    this.installedIn = this.generation;
    const rates = this.projected?.rates ?? [];
    this.projected = derive(this.ledger);
    for (const [counter, rate] of rates) this.projected.rates.set(counter, rate);
    this.isStale = false;
    this.met.clear();
  }

  /** A limit counts from when it is first met; request quotas look back to the start of their window. */
  private meet({ caller }: Ask): void {
    for (const { counter, window } of limitsOf(caller)) {
      if (window.kind === 'rolling' || window.kind === 'open') continue;
      const isRequests = counter === 'day' || counter === 'month';
      if (!this.ledger.counters.has(counter) && (this.kind === 'redis' || isRequests)) {
        const seed = isRequests ? this.seedOf(counter, caller.zone) : { startMs: 0, endMs: 0, used: 0n };
        this.ledger.counters.set(counter, seed);
      }
      const known = this.ledger.counters.get(counter);
      if (known && this.projected && !this.projected.counters.has(counter)) {
        this.projected.counters.set(counter, { ...known });
      }
      this.met.add(counter);
    }
  }

  private seedOf(unit: 'day' | 'month', zone: string): Counter {
    const { startMs, endMs } = windowAround(this.nowMs, zone, unit);
    const rows = [...this.ledger.rows.values()].filter(
      (row) => row.status !== 'VOIDED' && (unit === 'day' ? row.dayStartMs : row.monthStartMs) === startMs,
    );
    return { startMs, endMs, used: BigInt(rows.length) };
  }

  private insert(charge: Charge, status: Row['status'], hasWindows = true): void {
    const { id, processId, funding, frozen, ask, day, month } = charge;
    const { amount: hold, caller } = ask;
    const windows = hasWindows
      ? { dayStartMs: day, monthStartMs: month }
      : { dayStartMs: undefined, monthStartMs: undefined };
    this.ledger.admit({ id, processId, funding, frozen, hold, creditLimit: caller.creditLimit, ...windows }, status);
  }

  private post(isTold: boolean): void {
    const { posted, version } = this.ledger;
    if (version !== this.postings.at(-1)?.version) this.postings.push({ posted, version });
    if (isTold) this.tell({ posted, version });
  }

  private row(id: string): Row {
    const row = this.ledger.rows.get(id);
    if (!row) throw new Error(`the model has no row of ${id}`);
    return row;
  }

  private sure(): ProjectionSide {
    const { projection } = this;
    if (!projection) throw new Error('the model has nobody who decides');
    return projection;
  }
}

/** What the ledger alone says: committed charges in the newest window of each counter, and what open ones hold in it. */
export function derive(ledger: LedgerSide): ProjectionSide {
  const side = new ProjectionSide();
  side.posted = ledger.posted;
  side.version = ledger.version;
  for (const [name, counter] of ledger.counters) side.counters.set(name, { ...counter });
  for (const { id, processId, funding, frozen, hold } of ledger.open()) {
    side.holds.set(id, { processId, funding, frozen, rolled: [], tokens: 0, amount: hold });
    for (const { counter, measure, startMs, endMs } of frozen) {
      const known = side.counter(counter);
      const part = measure === 'requests' ? 1n : hold;
      if (known.startMs === startMs) side.counters.set(counter, { startMs, endMs, used: known.used + part });
      else if (known.startMs < startMs) side.counters.set(counter, { startMs, endMs, used: part });
    }
  }
  return side;
}
