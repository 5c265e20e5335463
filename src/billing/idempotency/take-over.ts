import type { PoolClient } from 'pg';
import { newId } from '../../kernel/ids';
import { lockAccounts, type Posting } from '../ledger/booking';
import { OWN_REASON_CODE } from '../ledger/reason-codes';
import { postRefund } from '../ledger/refund';
import { correctionTraceIdOf } from '../settlement/correction-id';
import { type EndRow, SWEPT_END_REASON, voidFields } from '../writer/charge-rows';
import type { EndOutcome } from '../writer/charge-writer';
import { judgeKey, type KeyClaim, type KeyState } from './key-claim';
import { chargeOfTrace, type TraceCharge } from './trace-charge';

/** A key as it was found, and the call that would have it. */
export interface TakeOver {
  readonly claim: KeyClaim;
  readonly requestHash: Buffer;
  readonly processId: string;
  /** Whose it was. */
  readonly ownerTraceId: string;
  readonly ownerProcessId: string;
  readonly nowOffsetMs: number;
  readonly ttlHours: number;
}

/** What is to be told once the takeover is committed. */
export interface TakenOver {
  /** A hold whose charge was voided. */
  readonly releasedHoldId: string | undefined;
  readonly refunded: Posting | undefined;
}

/** The key is no longer what it was found to be. */
export class KeyMovedError extends Error {
  override readonly name = 'KeyMovedError';
}

const END = { reasonCode: OWN_REASON_CODE.keyTakenOver, endReason: 'key_taken_over' } as const;

/**
 * Gives the key of a call that nobody answers any more to another one, in the caller's transaction, and makes sure that
 * the first is not charged, whatever its process does should it only have been paused:
 *
 *   its charge is    what is written                     what a late settle meets
 *   none             a VOIDED charge of its trace id     a row that collides
 *   PENDING          VOIDED, with one winner             an ended charge, and see below
 *   COMMITTED        a linked refund                     a charge that was given back
 *   VOIDED (swept)   -                                   see below
 *
 * The correction by which a late settle charges all the same collides with a VOIDED one of its trace id. The tenant's
 * accounts are locked first, as by every writer of money, so a settle, a sweep, a correction and another takeover of the
 * same call come before or after this. Throws KeyMovedError: look at the key again.
 */
export async function takeOverKey(client: PoolClient, task: TakeOver): Promise<TakenOver> {
  const { claim, ownerTraceId } = task;
  await client.query('select pg_advisory_xact_lock_shared(quota_fence())');
  await lockAccounts(client, claim.tenantId);
  const key = await lockKey(client, task);
  const found = await chargeOfTrace(client, claim.tenantId, ownerTraceId);
  const verdict = judgeKey({
    state: key.state,
    isOwnerAlive: key.is_owner_alive,
    isSameRequest: true,
    charge: found.state,
  });
  if (verdict !== 'free') throw new KeyMovedError(`the key is ${verdict}`);
  const refunded = found.kept && (await refundKept(client, claim.tenantId, found.kept.id));
  const wasOpen = found.state === 'open';
  if (wasOpen) await voidOpen(client, claim.tenantId, found);
  const mayComeLate = found.state === 'none' || wasOpen || found.charge?.end_reason === SWEPT_END_REASON;
  if (mayComeLate) await barLateSettle(client, task, found);
  await assignKey(client, task);
  return { releasedHoldId: wasOpen ? found.charge?.id : undefined, refunded };
}

async function lockKey(
  client: PoolClient,
  { claim, ownerTraceId }: TakeOver,
): Promise<{ readonly state: KeyState; readonly is_owner_alive: boolean }> {
  const { rows } = await client.query<{ state: KeyState; is_owner_alive: boolean }>(
    `select k.state, exists (select from gateway_process p where p.id = k.process_id and p.status = 'alive')
              as is_owner_alive
       from idempotency_key k
      where k.api_key_id = $1 and k.key_hash = $2 and k.trace_id = $3 for update of k`,
    [claim.apiKeyId, claim.keyHash, ownerTraceId],
  );
  const [key] = rows;
  if (!key) throw new KeyMovedError('the key is gone or another call has it');
  return key;
}

function refundKept(client: PoolClient, tenantId: string, chargeId: string): Promise<Posting> {
  return postRefund(client, {
    tenantId,
    chargeId,
    reasonCode: OWN_REASON_CODE.keyTakenOver,
    description: `charge ${chargeId} has no answer that could be sent again`,
  });
}

async function voidOpen(client: PoolClient, tenantId: string, { charge }: TraceCharge): Promise<void> {
  if (!charge) return;
  const { id, credit_limit_nano_usd } = charge;
  await endVoided(client, { ...voidFields(END), id, tenant_id: tenantId, credit_limit_nano_usd, is_new: false });
}

async function barLateSettle(client: PoolClient, task: TakeOver, { charge, correction }: TraceCharge): Promise<void> {
  const chargeId = charge?.id ?? newId();
  if (!charge) await endVoided(client, await barRow(client, task, { id: chargeId }));
  if (correction) return;
  const trace_id = correctionTraceIdOf(task.ownerTraceId);
  const description = `late settle of charge ${chargeId}`;
  const of = { type: 'correction', description, original_transaction_id: chargeId } as const;
  await endVoided(client, await barRow(client, task, { id: newId(), trace_id, ...of }));
}

/** A VOIDED row that moves nothing: it only stands where another must not. */
async function barRow(
  client: PoolClient,
  task: TakeOver,
  fields: Partial<EndRow> & Pick<EndRow, 'id'>,
): Promise<EndRow> {
  const { rows } = await client.query<{ epoch: string }>('select epoch from quota_authority');
  return {
    ...voidFields(END),
    tenant_id: task.claim.tenantId,
    trace_id: task.ownerTraceId,
    channel: 'external',
    is_stream: false,
    epoch: rows[0]?.epoch ?? '0',
    process_id: task.ownerProcessId,
    hold_nano_usd: '0',
    credit_limit_nano_usd: '0',
    balance_before_nano_usd: '0',
    scopes: null,
    funding: 'wallet',
    api_key_id: task.claim.apiKeyId,
    is_new: true,
    ...fields,
  };
}

async function endVoided(client: PoolClient, row: EndRow): Promise<void> {
  const { rows } = await client.query<{ outcome: EndOutcome }>(`select outcome from billing_end($1::json)`, [
    JSON.stringify([row]),
  ]);
  const outcome = rows[0]?.outcome;
  if (outcome !== 'voided') throw new KeyMovedError(`the charge of its call is ${outcome ?? 'not answered'}`);
}

async function assignKey(client: PoolClient, task: TakeOver): Promise<void> {
  const { claim, requestHash, processId, nowOffsetMs, ttlHours } = task;
  await client.query(
    `update idempotency_key set tenant_id = $3, request_hash = $4, trace_id = $5, process_id = $6, state = 'running',
            sealed_answer = null, sealed_tail = null, created_at = n.at, expires_at = n.at + make_interval(hours => $8)
       from (select now() + $7 * interval '1 millisecond' as at) n
      where api_key_id = $1 and key_hash = $2`,
    [claim.apiKeyId, claim.keyHash, claim.tenantId, requestHash, claim.traceId, processId, nowOffsetMs, ttlHours],
  );
}
