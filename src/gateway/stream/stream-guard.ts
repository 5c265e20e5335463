import { outputLeft, type HoldCoverage } from '../../catalogue/hold-coverage';
import { costOf, type FrozenPrice } from '../../catalogue/price';
import { type Refusal, refuse } from '../../kernel/errors';
import { addNanoUsd, type NanoUsd, ZERO_NANO_USD } from '../../kernel/money';
import type { Metrics } from '../../platform/metrics/metrics';
import { roomOf } from '../../quota/scopes/scope-refusal';
import type { CountableAnswer, CountedTokens } from './count-tokens';

/** What becomes of a stream that outgrows its hold where more is refused. */
export interface GuardRules {
  readonly refused: 'cut' | 'finish' | 'overdraft';
  /** Beyond the hold, for `overdraft`. */
  readonly overdraft: NanoUsd;
  /** False in shadow mode: a refusal is counted, and the stream goes on. */
  readonly blocks: boolean;
}

/** What the guard needs of a charge; OpenCharge is one. */
export interface ExtensibleCharge {
  readonly held: { readonly amount: NanoUsd };
  extend(toAmount: NanoUsd): Promise<Refusal | undefined>;
}

/** The stream that is guarded: it was told to wait. */
export interface GuardedStream {
  /** What has passed, as it would be billed if it ended now. */
  answerSoFar(): CountableAnswer;
  /** What waits may pass, or ask again. */
  goOn(): void;
  cut(cut: GuardCut): void;
}

export interface GuardCut {
  readonly reason: 'guard_cut' | 'guard_overdraft_cut';
  /** The scope that refused; `unavailable` where nobody could be asked. */
  readonly limit: string;
  /** What the stream may cost at most. */
  readonly budget: NanoUsd;
}

/** The hold is extended when so much of it is used up. */
const EXTEND_AT = 0.8;
/** Output tokens that are added at least: a hold for a few of them would be extended at each. */
const MIN_STEP_TOKENS = 64;
/** Less than this part of what a hold covers is not worth an extension. */
const LEAST_PART = 16;
/** For one extension: double the output; then what the limits that refuse still have. */
const MAX_ASKS = 4;
/** How often the tokenizer may say that the hold is not used up yet. */
const MAX_COUNTS = 4;
const UNAVAILABLE = refuse('QUOTA_SERVICE_ERROR', { retryAfterMs: 1_000 });

/**
 * Sees to it that a stream does not cost more than is held for it (money.md, Mid-stream guard).
 *
 *   watching ──80 % of the hold──► asking ──durable──► watching, with a larger hold
 *                                    └──refused──► limited ──100 %──► asks once more ──► watching
 *                                                                     counts exactly ──► limited, where there is room
 *                                                                     else by policy ──► passing, limited (overdraft), cut
 *
 * Output is compared by the accumulator's count, which reads no JSON: one comparison of integers a frame. At 100 % the
 * stream waits for whoever is asked. An extension doubles the output that the hold covers, so that long streams ask few
 * times; where a limit refuses that, it takes what the limit still has, if that is worth it. Before a stream is cut its
 * text is counted as it would be billed: the quick count may be wrong by a third.
 */
export class StreamGuard {
  private stage: 'watching' | 'asking' | 'limited' | 'deciding' | 'passing' | 'cut' = 'watching';
  /** The hot path compares this alone. */
  private nextTokens = 0;
  /** Up to which frames pass. */
  private limitTokens = 0;
  /** Where the frame that waits would bring the answer. */
  private waitingTokens: number | undefined;
  private askedAtTokens = -1;
  private counts = 0;
  private isOverdrawn = false;
  private isOver = false;
  private stream: GuardedStream | undefined;
  private refusal: Refusal = UNAVAILABLE;

  /**
   * @param coveredTokens what the hold covers now
   * @param count what an answer is billed
   */
  constructor(
    private readonly charge: ExtensibleCharge,
    private readonly coverage: HoldCoverage,
    coveredTokens: number,
    private readonly price: FrozenPrice,
    private readonly rules: GuardRules,
    private readonly count: (answer: CountableAnswer) => CountedTokens | Promise<CountedTokens>,
    private readonly metrics: Metrics,
  ) {
    this.watch(coveredTokens);
  }

  /** Before the first frame. */
  guard(stream: GuardedStream): void {
    this.stream = stream;
  }

  /** Whether a frame that brings the answer to so many tokens may pass. Where not, the stream is told later what to do. */
  admits(tokens: number): boolean {
    if (tokens <= this.nextTokens) return true;
    const isCovered = tokens <= this.limitTokens;
    if (!isCovered) this.waitingTokens = tokens;
    if (this.stage === 'watching') void this.extend();
    else if (this.stage === 'limited' && !isCovered) void this.decide();
    return isCovered;
  }

  /** The stream is over, whyever: what is asked just now decides nothing any more. */
  end(): void {
    this.isOver = true;
  }

  private get written(): number {
    return this.stream?.answerSoFar().writtenTokens ?? 0;
  }

  private get budget(): NanoUsd {
    return addNanoUsd(this.charge.held.amount, this.isOverdrawn ? this.rules.overdraft : ZERO_NANO_USD);
  }

  private watch(coveredTokens: number): void {
    this.stage = 'watching';
    this.counts = 0;
    this.limitTokens = coveredTokens;
    this.nextTokens = Math.floor(coveredTokens * EXTEND_AT);
    this.release();
  }

  private limit(tokens: number): void {
    this.stage = 'limited';
    this.limitTokens = tokens;
    this.nextTokens = tokens;
    this.release();
  }

  private release(): void {
    if (this.waitingTokens === undefined) return;
    this.waitingTokens = undefined;
    this.stream?.goOn();
  }

  /** At 80 %, beside the stream. */
  private async extend(): Promise<void> {
    this.stage = 'asking';
    this.nextTokens = this.limitTokens;
    if (await this.ask()) this.watch(this.coverage.tokensFor(this.charge.held.amount));
    else this.limit((await this.countedLimit()) ?? this.limitTokens);
  }

  /** At 100 %, while the stream waits. */
  private async decide(): Promise<void> {
    this.stage = 'deciding';
    // What was refused or away a while ago may not be any more.
    if (this.written > this.askedAtTokens && (await this.ask())) {
      this.watch(this.coverage.tokensFor(this.charge.held.amount));
      return;
    }
    if (this.counts < MAX_COUNTS) {
      this.counts += 1;
      const counted = await this.countedLimit();
      if (counted !== undefined && counted >= (this.waitingTokens ?? 0)) {
        this.limit(counted);
        return;
      }
    }
    await this.applyPolicy();
  }

  private async applyPolicy(): Promise<void> {
    if (this.isOver) return;
    if (!this.rules.blocks) {
      this.pass('shadow');
    } else if (this.rules.refused === 'finish') {
      this.pass('finish');
    } else if (this.rules.refused === 'overdraft' && !this.isOverdrawn) {
      this.metrics.streamGuard.of('overdraft').inc();
      this.isOverdrawn = true;
      this.counts = 0;
      this.limit((await this.countedLimit()) ?? this.coverage.tokensFor(this.budget));
    } else {
      this.stage = 'cut';
      const reason = this.isOverdrawn ? 'guard_overdraft_cut' : 'guard_cut';
      this.metrics.streamGuard.of(this.isOverdrawn ? 'overdraft_cut' : 'cut').inc();
      this.stream?.cut({ reason, limit: limitNameOf(this.refusal), budget: this.budget });
    }
  }

  private pass(outcome: 'shadow' | 'finish'): void {
    this.metrics.streamGuard.of(outcome).inc();
    this.stage = 'passing';
    this.nextTokens = Infinity;
    this.limitTokens = Infinity;
    this.release();
  }

  /** True once a larger hold is durable. */
  private async ask(): Promise<boolean> {
    const isGranted = await this.askForMore();
    this.askedAtTokens = this.written;
    return isGranted;
  }

  private async askForMore(): Promise<boolean> {
    const { amount } = this.charge.held;
    const covered = this.coverage.tokensFor(amount);
    if (covered === Infinity) return true;
    const least = this.coverage.amountFor(covered + Math.max(1, Math.floor(covered / LEAST_PART)));
    const wanted = Math.max(covered + MIN_STEP_TOKENS, 2 * covered, 2 * (this.waitingTokens ?? 0));
    let target = this.coverage.amountFor(wanted);
    for (let asked = 0; asked < MAX_ASKS; asked += 1) {
      const refusal = await this.charge.extend(target).catch(() => UNAVAILABLE);
      if (!refusal) {
        this.metrics.streamExtensions.of('granted').inc();
        return true;
      }
      this.refusal = refusal;
      if (this.isOver) return false;
      const room = roomOf(refusal);
      if (room === undefined) {
        this.metrics.streamExtensions.of('unavailable').inc();
        return false;
      }
      const possible = addNanoUsd(amount, room);
      if (possible < least || possible >= target) break;
      target = possible;
    }
    this.metrics.streamExtensions.of('refused').inc();
    return false;
  }

  /** Up to which count the budget lasts, by what is billed for what has passed; undefined where that is not known. */
  private async countedLimit(): Promise<number | undefined> {
    const answer = this.isOver ? undefined : this.stream?.answerSoFar();
    if (!answer) return undefined;
    const counted = await countSafely(() => this.count(answer));
    if (!counted || counted.method === 'estimated') return undefined;
    const { tokens } = counted;
    // Spent by what was reported at once, such as thoughts nobody saw: what follows need not raise the count to cost more.
    if (costOf(tokens, this.price) > this.budget) return 0;
    const left = outputLeft(tokens, this.price, this.budget);
    const written = answer.writtenTokens ?? 0;
    // Where the quick count is too low, as for text in pieces of one token and many bytes, it stays too low.
    const scale = Math.min(1, written / Math.max(1, tokens.output + tokens.reasoning));
    return written + Math.floor(left * scale);
  }
}

async function countSafely(count: () => CountedTokens | Promise<CountedTokens>): Promise<CountedTokens | undefined> {
  try {
    return await count();
  } catch {
    return undefined;
  }
}

function limitNameOf({ code, quota }: Refusal): string {
  if (quota !== undefined) return quota.scope;
  return code === 'QUOTA_BALANCE_EXCEEDED' ? 'balance' : 'unavailable';
}
