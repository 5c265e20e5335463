/** One tenant's money as it must be, counted with plain bigints and none of the gateway's code. */

export type Payer = 'promo' | 'wallet' | 'overrun' | 'house';

interface ReferenceCharge {
  readonly id: string;
  readonly tokens: bigint;
  readonly amount: bigint;
  /** In the order in which it was taken. */
  readonly taken: readonly (readonly [Payer, bigint])[];
  givenBack: bigint;
  /** The last of it by a refund: nobody pays for it any more, however it is rated. */
  isRefunded: boolean;
  /** By re-ratings alone, credits above 0. */
  reRated: bigint;
}

export interface ReferenceBalances {
  readonly promo: bigint;
  readonly wallet: bigint;
  readonly overrun: bigint;
}

export class Reference {
  private promo = 0n;
  private wallet = 0n;
  /** What is owed, ≥ 0. */
  private owed = 0n;
  readonly charges: ReferenceCharge[] = [];

  constructor(private readonly creditLimit: bigint) {}

  get balances(): ReferenceBalances {
    return { promo: this.promo, wallet: this.wallet, overrun: -this.owed };
  }

  /** Of the house's revenue. */
  revenue = 0n;

  adjust(account: 'promo' | 'wallet', amount: bigint): void {
    if (account === 'promo') this.promo += amount;
    else if (amount > 0n) this.credit(amount);
    else this.wallet += amount;
  }

  charge(id: string, tokens: bigint, isGranted: boolean): void {
    const taken: (readonly [Payer, bigint])[] = isGranted ? [['house', tokens]] : this.spend(tokens, true);
    this.revenue += tokens;
    this.charges.push({ id, tokens, amount: tokens, taken, givenBack: 0n, isRefunded: false, reRated: 0n });
  }

  left(charge: ReferenceCharge): bigint {
    return charge.amount - charge.givenBack;
  }

  refund(charge: ReferenceCharge, amount: bigint): void {
    this.giveBack(charge, amount);
    charge.isRefunded = this.left(charge) === 0n;
  }

  private giveBack(charge: ReferenceCharge, amount: bigint): void {
    let before = charge.givenBack;
    let rest = amount;
    let toWallet = 0n;
    for (const [payer, took] of [...charge.taken].reverse()) {
      const had = min(before, took);
      before -= had;
      const share = min(rest, took - had);
      rest -= share;
      if (payer === 'promo') this.promo += share;
      else if (payer !== 'house') toWallet += share;
    }
    if (rest !== 0n) throw new Error('gave back more than was taken');
    charge.givenBack += amount;
    this.revenue -= amount;
    this.credit(toWallet);
  }

  /** Every charge at `perToken` nano-USD instead of what it cost; answers how much was credited and debited. */
  reRate(perToken: bigint, chargesDifferences: boolean): { credited: bigint; debited: bigint } {
    const booked = { credited: 0n, debited: 0n };
    for (const charge of this.charges) {
      const tooMuch = charge.amount - charge.reRated - charge.tokens * perToken;
      if (tooMuch > 0n) {
        const credit = min(tooMuch, this.left(charge));
        this.giveBack(charge, credit);
        charge.reRated += credit;
        booked.credited += credit;
      } else if (chargesDifferences && !charge.isRefunded && charge.taken.every(([payer]) => payer !== 'house')) {
        this.spend(-tooMuch, false);
        this.revenue -= tooMuch;
        charge.reRated += tooMuch;
        booked.debited -= tooMuch;
      }
    }
    return booked;
  }

  private credit(amount: bigint): void {
    const repaid = min(amount, this.owed);
    this.owed -= repaid;
    this.wallet += amount - repaid;
  }

  private spend(amount: bigint, isPromoSpent: boolean): (readonly [Payer, bigint])[] {
    const promo = isPromoSpent ? min(amount, this.promo) : 0n;
    const spendable = this.wallet + this.creditLimit;
    const wallet = min(amount - promo, spendable > 0n ? spendable : 0n);
    const overrun = amount - promo - wallet;
    this.promo -= promo;
    this.wallet -= wallet;
    this.owed += overrun;
    return [
      ['promo', promo],
      ['wallet', wallet],
      ['overrun', overrun],
    ];
  }
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
