import type { PoolClient } from 'pg';
import { v5 } from 'uuid';
import { refuse, RefusalError } from '../../kernel/errors';
import { type NanoUsd, nanoUsd, toDecimalUsd } from '../../kernel/money';
import { balanceNow, lockAccounts, type Posting } from './booking';
import { type CommittedCharge, giveBack, lockCharge } from './giving-back';

export interface Refund {
  readonly tenantId: string;
  readonly chargeId: string;
  readonly reasonCode: string;
  readonly description: string;
  /** A part of the charge; unless given, everything that nobody gave back yet. */
  readonly amount?: NanoUsd | undefined;
  /**
   * Same key, same tenant: the first refund's answer. Without one, a charge that was given back whole answers what gave back
   * the last of it.
   */
  readonly idempotencyKey?: string;
}

export interface RefundPosting extends Posting {
  /** Of this refund. */
  readonly amount: NanoUsd;
  /** Of the charge, by refunds and credit notes altogether. */
  readonly givenBack: NanoUsd;
}

/** Ids of refunds that are due by themselves derive from the charge's id, so that refunding one twice collides. */
const REFUND_NAMESPACE = 'a5d0f0b1-6c47-4f0e-8d2b-2f6a4f3b7c19';
/** Those of refunds somebody asks for derive from the idempotency key. */
const KEYED_REFUND_NAMESPACE = '0c1b5c80-6f2c-4f5f-b1c9-53d8a0c9d6e2';

/**
 * Refunds a COMMITTED charge or correction, whole or in part, in the caller's transaction; see giveBack for who gets it. The
 * charge names the refund that gave back the last of it in `reversed_by`. Request counters stay as they are.
 * Throws RefusalError: NOT_FOUND (no such charge of this tenant), INVALID_REQUEST (the amount is not above 0), CONFLICT (the
 * charge is not COMMITTED, less is left of it, the key was used for something else, or the tenant's accounts have no room
 * for so much).
 */
export async function postRefund(client: PoolClient, refund: Refund): Promise<RefundPosting> {
  const accounts = await lockAccounts(client, refund.tenantId);
  const charge = await lockCharge(client, refund.tenantId, refund.chargeId);
  const { idempotencyKey } = refund;
  const traceId =
    idempotencyKey === undefined
      ? v5(refund.chargeId, REFUND_NAMESPACE)
      : v5(`${refund.tenantId}:${idempotencyKey}`, KEYED_REFUND_NAMESPACE);
  const repeated =
    idempotencyKey === undefined ? charge.reversedBy : await findRepeat(client, { refund, charge, traceId });
  if (repeated !== null) return answerOf(client, refund, repeated, true);
  const transactionId = await giveBack(client, accounts, charge, {
    type: 'refund',
    amount: amountOf(refund, charge),
    traceId,
    reasonCode: refund.reasonCode,
    description: refund.description,
  });
  return answerOf(client, refund, transactionId, false);
}

interface KeyedRefund {
  readonly refund: Refund;
  readonly charge: CommittedCharge;
  readonly traceId: string;
}

/** A refund of all that was left is the one that gave back the last of it. */
async function findRepeat(client: PoolClient, { refund, charge, traceId }: KeyedRefund): Promise<string | null> {
  const { rows } = await client.query<{ id: string; amount: string; original_id: string }>(
    `select id, amount_nano_usd as amount, original_transaction_id as original_id from billing_transaction
      where tenant_id = $1 and trace_id = $2`,
    [refund.tenantId, traceId],
  );
  const [found] = rows;
  if (!found) return null;
  const isSame =
    found.original_id === charge.id &&
    (refund.amount === undefined ? found.id === charge.reversedBy : BigInt(found.amount) === refund.amount);
  if (isSame) return found.id;
  const reason = 'the key was used for another refund';
  throw new RefusalError(refuse('CONFLICT', { param: 'Idempotency-Key', values: { reason } }));
}

/** A refund that is due by itself gives back what there is, also nothing of a charge that came to nothing. */
function amountOf({ amount: wanted, idempotencyKey }: Refund, charge: CommittedCharge): bigint {
  const left = leftOf(charge);
  if (wanted === undefined && idempotencyKey === undefined) return left;
  const amount = wanted ?? left;
  if (wanted !== undefined && wanted <= 0n) {
    throw new RefusalError(
      refuse('INVALID_REQUEST', { param: 'amount_usd', values: { reason: 'must be more than 0' } }),
    );
  }
  if (left > 0n && amount <= left) return amount;
  const reason =
    left === 0n
      ? 'nothing is left of the charge to give back'
      : `only ${toDecimalUsd(left)} USD are left of the charge`;
  throw new RefusalError(refuse('CONFLICT', { param: 'amount_usd', values: { reason } }));
}

function leftOf({ amount, givenBack }: CommittedCharge): NanoUsd {
  return nanoUsd(amount - givenBack);
}

async function answerOf(
  client: PoolClient,
  { tenantId, chargeId }: Refund,
  transactionId: string,
  isRepeat: boolean,
): Promise<RefundPosting> {
  const { rows } = await client.query<{ amount: string; given_back: string }>(
    `select r.amount_nano_usd as amount, c.refunded_nano_usd as given_back
       from billing_transaction r join billing_transaction c on c.id = $2 where r.id = $1`,
    [transactionId, chargeId],
  );
  const [row] = rows;
  return {
    transactionId,
    ...(await balanceNow(client, tenantId)),
    isRepeat,
    amount: nanoUsd(row?.amount ?? '0'),
    givenBack: nanoUsd(row?.given_back ?? '0'),
  };
}
