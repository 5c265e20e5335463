/** A window in which a hold counts. */
export interface Frozen {
  readonly counter: string;
  readonly measure: 'requests' | 'usd';
  readonly startMs: number;
  readonly endMs: number;
}

export type Funding = 'wallet' | 'allowance' | 'subscription';

/** A row of the ledger that began as a hold. */
export interface Row {
  readonly id: string;
  readonly processId: string;
  readonly funding: Funding;
  readonly creditLimit: bigint;
  readonly frozen: readonly Frozen[];
  readonly dayStartMs: number | undefined;
  readonly monthStartMs: number | undefined;
  status: 'PENDING' | 'COMMITTED' | 'VOIDED';
  hold: bigint;
  extended: bigint;
  amount: bigint;
  tokens: number;
  paid: Paid;
  isRefunded: boolean;
}

/** From which of the tenant's accounts a charge was taken; nothing where the house granted it. */
export interface Paid {
  readonly promo: bigint;
  readonly own: bigint;
}

/** The newest window in which a counter has committed charges. */
export interface Counter {
  startMs: number;
  endMs: number;
  used: bigint;
}

const NOTHING: Paid = { promo: 0n, own: 0n };

/** What Postgres must say: accounts, rows, and what committed charges came to in each counter's newest window. */
export class LedgerSide {
  promo = 0n;
  wallet = 0n;
  /** Owed beyond wallet and credit limit; the account itself stands at minus this. */
  overrun = 0n;
  /** Changes of wallet and promo so far. */
  version = 0n;
  readonly rows = new Map<string, Row>();
  readonly corrections = new Map<string, bigint>();
  readonly counters = new Map<string, Counter>();

  get posted(): bigint {
    return this.promo + this.wallet;
  }

  /** What the answer says of an adjustment: whether it was taken. */
  adjust(account: 'wallet' | 'promo', amount: bigint): boolean {
    if (account === 'promo') {
      if (this.promo + amount < 0n) return false;
      this.promo += amount;
      this.version += 1n;
    } else if (amount > 0n) this.credit(amount);
    else {
      this.wallet += amount;
      this.version += 1n;
    }
    return true;
  }

  admit(
    row: Omit<Row, 'status' | 'extended' | 'amount' | 'tokens' | 'paid' | 'isRefunded'>,
    status: Row['status'],
  ): void {
    this.rows.set(row.id, { ...row, status, extended: 0n, amount: 0n, tokens: 0, paid: NOTHING, isRefunded: false });
  }

  commit(row: Row, amount: bigint, tokens: number): void {
    row.status = 'COMMITTED';
    row.amount = amount;
    row.tokens = tokens;
    row.paid = this.charge(row, amount);
    for (const { counter, measure, startMs, endMs } of row.frozen) {
      this.count(counter, { startMs, endMs, used: measure === 'requests' ? 1n : amount });
    }
  }

  /** A charge that was voided though its call was answered: it is paid, and counted nowhere. */
  correct(row: Row, amount: bigint): void {
    this.corrections.set(row.id, amount);
    this.charge(row, amount);
  }

  refund(row: Row): void {
    row.isRefunded = true;
    if (row.paid.promo > 0n) {
      this.promo += row.paid.promo;
      this.version += 1n;
    }
    if (row.paid.own > 0n) this.credit(row.paid.own);
  }

  open(): Row[] {
    return [...this.rows.values()].filter(({ status }) => status === 'PENDING');
  }

  private charge({ funding, creditLimit }: Row, amount: bigint): Paid {
    if (funding !== 'wallet') return NOTHING;
    const promo = least(this.promo, amount);
    const own = amount - promo;
    const room = this.wallet + creditLimit;
    const wallet = least(own, room > 0n ? room : 0n);
    this.promo -= promo;
    this.wallet -= wallet;
    this.overrun += own - wallet;
    this.version += (promo > 0n ? 1n : 0n) + (wallet > 0n ? 1n : 0n);
    return { promo, own };
  }

  private credit(amount: bigint): void {
    const repaid = least(this.overrun, amount);
    this.overrun -= repaid;
    this.wallet += amount - repaid;
    this.version += repaid > 0n ? 2n : 1n;
  }

  private count(counter: string, part: Counter): void {
    const known = this.counters.get(counter);
    if (!known || known.startMs < part.startMs) this.counters.set(counter, { ...part });
    else if (known.startMs === part.startMs) known.used += part.used;
  }
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
