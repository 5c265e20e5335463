import { HoldCoverage } from '../../src/catalogue/hold-coverage';
import { costOf, type FrozenPrice, NO_TOKENS } from '../../src/catalogue/price';
import type { CountableAnswer, CountedTokens } from '../../src/gateway/stream/count-tokens';
import { type ExtensibleCharge, type GuardRules, StreamGuard } from '../../src/gateway/stream/stream-guard';
import { type Refusal, refuse } from '../../src/kernel/errors';
import { type NanoUsd, nanoUsd, toDecimalUsd } from '../../src/kernel/money';
import { Metrics } from '../../src/platform/metrics/metrics';

/** 1,000 nano-USD a token of input, 2,000 a token of output. */
export const PRICE: FrozenPrice = {
  version: '1',
  perMillionTokens: {
    inputUncached: 1_000_000_000n,
    inputCached: 500_000_000n,
    cacheWrite: 0n,
    output: 2_000_000_000n,
    reasoning: 2_000_000_000n,
    audio: 0n,
    image: 0n,
  },
  tiers: [],
  perRequestNanoUsd: nanoUsd(0n),
  multiplierMillionths: 1_000_000n,
};
export const PROFILE = {
  model: 'm',
  isReasoning: false,
  defaultOutputReserveTokens: 1_024,
  maxOutputTokens: null,
  tokensPerImage: 0,
};
/** 10 tokens of input. */
export const INPUT = {
  textBytes: 30,
  images: 0,
  audioParts: 0,
  audioDataBytes: 0,
  maxOutputTokens: 100,
  choices: 1,
  asksForAudio: false,
  asksForImages: false,
};
/** 10 × 1,000 + 100 × 2,000 */
export const HOLD = 210_000n;
/** A balance that covers so much; what is asked is answered when the test says so. */
export class ScriptedCharge implements ExtensibleCharge {
  held = { amount: nanoUsd(HOLD) };
  readonly asked: bigint[] = [];
  isAway = false;
  private gate = Promise.resolve();
  private openGate = (): void => undefined;

  constructor(public balance: bigint) {}

  async extend(toAmount: NanoUsd): Promise<Refusal | undefined> {
    this.asked.push(toAmount);
    await this.gate;
    if (this.isAway) return refuse('QUOTA_SERVICE_ERROR');
    if (toAmount > this.balance) {
      const available = toDecimalUsd(nanoUsd(this.balance - this.held.amount));
      return refuse('QUOTA_BALANCE_EXCEEDED', { values: { needed: '', available } });
    }
    this.held = { amount: toAmount };
    return undefined;
  }

  silent(): void {
    this.gate = new Promise((resolve) => {
      this.openGate = resolve;
    });
  }

  answers(): void {
    this.openGate();
  }
}

/** What 10 tokens of input and so many of output cost. */
export const cost = (output: number): bigint => costOf({ ...NO_TOKENS, inputUncached: 10, output }, PRICE);

/** A guard that nobody counts exactly for. */
export function guardOf(charge: ScriptedCharge, rules: Partial<GuardRules> = {}): StreamGuard {
  const coverage = new HoldCoverage(INPUT, PROFILE, PRICE);
  const all: GuardRules = { refused: 'cut', overdraft: nanoUsd(0n), blocks: true, ...rules };
  const uncounted = (answer: CountableAnswer): CountedTokens => ({
    tokens: { ...NO_TOKENS, output: answer.chunks },
    method: 'estimated',
  });
  return new StreamGuard(charge, coverage, coverage.reservedTokens, PRICE, all, uncounted, new Metrics());
}
