import { nanoUsd, subtractNanoUsd, ZERO_NANO_USD } from '../../kernel/money';
import type { Refusal } from '../../kernel/errors';
import type { AdmittedHold, HoldRequest } from '../quota-store.port';
import type { CountedScope, Funding, ScopeSpec } from '../scopes/scope';
import { balanceRefusal, scopeRefusal } from '../scopes/scope-refusal';
import { calendarWindowsOf, type TenantWindows } from '../tenant-windows';
import type { CountedWindow, ReserveReply } from './reserve-row';

/** The hold that an ADMITTED reply speaks of; its PENDING row stands. */
export function admittedHold(
  { holdId, limits }: HoldRequest,
  epoch: bigint,
  reply: ReserveReply,
  windows: TenantWindows,
): AdmittedHold {
  const amount = nanoUsd(reply.hold_nano_usd);
  const funding = fundingOf(reply.funding);
  const balanceBefore = nanoUsd(reply.balance_before_nano_usd ?? '0');
  const counted = (reply.counted ?? []).map(countedScope);
  return {
    holdId,
    tenantId: limits.tenantId,
    amount,
    funding,
    epoch,
    isDurable: true,
    creditLimit: limits.creditLimit,
    balanceBefore,
    balanceAfter: subtractNanoUsd(balanceBefore, funding === 'wallet' ? amount : ZERO_NANO_USD),
    ...calendarWindowsOf(counted, windows, Number(reply.now_ms), limits.timezone),
    counted,
  };
}

/** What REFUSED replies of quota_reserve and quota_extend have in common. */
export type RefusedReply = Pick<ReserveReply, 'place' | 'check_limit' | 'used' | 'resets_ms'>;

/** @param plan the scopes that were sent: the place that refused counts from 1 in it, 0 is the balance */
export function refusalOf(amount: HoldRequest['amount'], plan: readonly ScopeSpec[], reply: RefusedReply): Refusal {
  const details = { limit: reply.check_limit ?? '0', used: reply.used ?? '0', resetsMs: reply.resets_ms ?? '' };
  if (reply.place === 0) return balanceRefusal(amount, details);
  const spec = plan[(reply.place ?? 0) - 1];
  if (!spec) throw new Error(`Postgres refused for scope ${reply.place} of ${plan.length}`);
  return scopeRefusal(spec, details);
}

function countedScope([counter, measure, startMs, endMs, used = 0]: CountedWindow): CountedScope {
  return {
    counter,
    measure: measure === 'u' ? 'usd' : 'requests',
    isRolling: false,
    startMs,
    endMs,
    used: BigInt(used),
  };
}

function fundingOf(text: string | null): Funding {
  if (text === 'wallet' || text === 'allowance' || text === 'subscription') return text;
  throw new Error(`Postgres admitted a hold that ${text ?? 'nobody'} pays`);
}
