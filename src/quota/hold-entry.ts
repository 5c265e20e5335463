import { type NanoUsd, nanoUsd } from '../kernel/money';
import type { CountedScope, Funding, Measure } from './scopes/scope';

/** One field of the tenant's holds hash; see redis-scripts/quota_deduct.lua for who writes it. */
export interface HoldEntry {
  /** The most the call may cost; held from the balance where the funding is `wallet`. */
  readonly amount: NanoUsd;
  readonly funding: Funding;
  readonly tokens: number;
  readonly processId: string;
  readonly reservedAtMs: number;
  readonly balanceBefore: NanoUsd;
  readonly counted: readonly CountedScope[];
}

const MEASURES: Readonly<Record<string, Measure>> = { r: 'requests', u: 'usd', t: 'tokens' };
const FUNDINGS: readonly string[] = ['wallet', 'allowance', 'subscription'] satisfies Funding[];

export function formatHoldEntry(entry: HoldEntry): string {
  return [
    entry.amount,
    entry.funding,
    entry.tokens,
    entry.processId,
    entry.reservedAtMs,
    entry.balanceBefore,
    entry.counted.map(formatScope).join(';'),
  ].join('|');
}

/** Throws where the text is not an entry: a projection that cannot be read must be rebuilt, not guessed. */
export function parseHoldEntry(text: string): HoldEntry {
  const [amount, funding, tokens, processId, reservedAt, before, scopes, ...rest] = text.split('|');
  if (
    amount === undefined ||
    funding === undefined ||
    !isFunding(funding) ||
    processId === undefined ||
    before === undefined ||
    scopes === undefined ||
    rest.length > 0
  ) {
    throw new Error(`not a hold entry: ${text}`);
  }
  return {
    amount: nanoUsd(amount),
    funding,
    tokens: Number(tokens),
    processId,
    reservedAtMs: Number(reservedAt),
    balanceBefore: nanoUsd(before),
    counted: scopes === '' ? [] : scopes.split(';').map(parseScope),
  };
}

function isFunding(text: string): text is Funding {
  return FUNDINGS.includes(text);
}

function formatScope({ isRolling, counter, measure, startMs, endMs, used }: CountedScope): string {
  return [isRolling ? 'r' : 'w', counter, measure.charAt(0), startMs, endMs, used].join(',');
}

function parseScope(text: string): CountedScope {
  const [kind, counter, letter = '', start, end, used] = text.split(',');
  const measure = MEASURES[letter];
  if (counter === undefined || measure === undefined || used === undefined) {
    throw new Error(`not a counted scope: ${text}`);
  }
  return {
    counter,
    measure,
    isRolling: kind === 'r',
    startMs: Number(start),
    endMs: Number(end),
    used: BigInt(used),
  };
}
