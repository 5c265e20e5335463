import type { HouseCost, ServedBy } from '../../billing/charge';
import type { TokenCounts } from '../../catalogue/price';
import { type NanoUsd, ZERO_NANO_USD } from '../../kernel/money';
import { upstreamCostOf } from '../../upstreams/upstream-cost';
import type { RoutableUpstream } from '../../upstreams/upstream-directory';

/** tenant: the one that is charged. house: it cost us something and no tenant pays. nobody: it used nothing that we know of. */
export type PaidBy = 'tenant' | 'house' | 'nobody';

export interface AttemptFacts {
  readonly upstream: RoutableUpstream;
  /** Null where no headers came. */
  readonly status: number | null;
  /** HTTP status, the kind of failure, or how a stream ended. */
  readonly outcome: string;
  /** It ended by the upstream's doing; undone by us or refused for the caller's fault it says nothing of the upstream. */
  readonly isUpstreamFault: boolean;
  /** Its answer went to the client. */
  readonly isServed: boolean;
  /** From the start of the attempt to the first byte of the body. */
  readonly ttftMs: number | null;
  readonly durationMs: number;
  /** As far as it reported any. */
  readonly usage: TokenCounts | undefined;
}

/**
 * One attempt of a call, and who pays it. Whatever it reported to have used is the house's until a charge takes it: so a
 * call that ends anywhere between leaves no cost unpaid.
 */
export class Attempt {
  tokens: TokenCounts | undefined;
  upstreamCost: NanoUsd = ZERO_NANO_USD;
  paidBy: PaidBy = 'nobody';

  constructor(readonly facts: AttemptFacts) {
    if (facts.usage) this.bill('house', facts.usage);
  }

  get servedBy(): ServedBy {
    const { upstreamId, upstreamName, providerName } = this.facts.upstream.target;
    return { upstreamId, upstreamName, providerName };
  }

  bill(paidBy: PaidBy, tokens: TokenCounts): void {
    this.paidBy = paidBy;
    this.tokens = tokens;
    this.upstreamCost = upstreamCostOf(tokens, this.facts.upstream);
  }
}

/** What the attempts so far cost the house. */
export function houseCostsOf(attempts: readonly Attempt[]): readonly HouseCost[] {
  return attempts
    .filter(({ paidBy, upstreamCost }) => paidBy === 'house' && upstreamCost > 0n)
    .map(({ facts, upstreamCost }) => ({
      upstreamId: facts.upstream.target.upstreamId,
      amount: upstreamCost,
      isServed: facts.isServed,
    }));
}
