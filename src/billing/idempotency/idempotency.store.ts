import { Inject, Injectable, Logger } from '@nestjs/common';
import type { Pool } from 'pg';
import { CLOCK, type Clock } from '../../kernel/clock';
import { type NanoUsd, nanoUsd } from '../../kernel/money';
import { Settings } from '../../platform/config/settings';
import { PG_POOL } from '../../platform/database/pg-pool';
import { retryTransaction, withTransaction } from '../../platform/database/with-transaction';
import { ProcessIdentity } from '../../platform/process/process-identity';
import { ProjectionQueue } from '../settlement/projection-queue';
import {
  judgeKey,
  type KeyClaim,
  type KeyedCall,
  keyHashOf,
  type KeyState,
  type KeyVerdict,
  requestHashOf,
} from './key-claim';
import { KeyMovedError, takeOverKey } from './take-over';
import { chargeOfTrace } from './trace-charge';

export type FoundKey =
  | { readonly kind: 'claimed'; readonly claim: KeyClaim }
  | { readonly kind: 'replay'; readonly owner: KeyClaim; readonly sealed: SealedAnswer; readonly amount: NanoUsd }
  | { readonly kind: Exclude<KeyVerdict, 'free' | 'replay'>; readonly traceId: string };

export interface SealedAnswer {
  readonly answer: Buffer;
  readonly tail: Buffer | null;
}

interface KeyRow {
  readonly is_claimed: boolean;
  readonly tenant_id: string;
  readonly trace_id: string;
  readonly process_id: string;
  readonly state: KeyState;
  readonly is_same_request: boolean;
  readonly is_owner_alive: boolean;
  readonly sealed_answer: Buffer | null;
  readonly sealed_tail: Buffer | null;
}

/**
 * One statement, one winner. A key that has expired is nobody's, whatever has become of it. Answers the row that stands;
 * none where it was claimed, or freed, by somebody else after the statement had begun.
 */
const CLAIM = `
with n as (select now() + $7 * interval '1 millisecond' as at),
claimed as (
  insert into idempotency_key as k (api_key_id, key_hash, tenant_id, request_hash, trace_id, process_id, created_at, expires_at)
  select $1, $2, $3, $4, $5, $6, n.at, n.at + make_interval(hours => $8) from n
  on conflict (api_key_id, key_hash) do update set
    tenant_id = excluded.tenant_id, request_hash = excluded.request_hash, trace_id = excluded.trace_id,
    process_id = excluded.process_id, state = 'running', sealed_answer = null, sealed_tail = null,
    created_at = excluded.created_at, expires_at = excluded.expires_at
   where k.expires_at <= excluded.created_at
  returning k.tenant_id, k.trace_id, k.process_id)
select true as is_claimed, c.tenant_id, c.trace_id, c.process_id, 'running' as state, true as is_same_request,
       true as is_owner_alive, null::bytea as sealed_answer, null::bytea as sealed_tail
  from claimed c
union all
select false, k.tenant_id, k.trace_id, k.process_id, k.state, k.request_hash = $4,
       exists (select from gateway_process p where p.id = k.process_id and p.status = 'alive'),
       case when k.request_hash = $4 then k.sealed_answer end, case when k.request_hash = $4 then k.sealed_tail end
  from idempotency_key k
 where k.api_key_id = $1 and k.key_hash = $2 and not exists (select from claimed)`;

/** Looks at a key that others move at the same time. */
const MAX_LOOKS = 5;

/** The statements about table idempotency_key. Each rejects where Postgres does not take it. */
@Injectable()
export class IdempotencyStore {
  private readonly logger = new Logger(IdempotencyStore.name);

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    @Inject(CLOCK) private readonly clock: Clock,
    private readonly process: ProcessIdentity,
    private readonly projection: ProjectionQueue,
    private readonly settings: Settings,
  ) {}

  /** Claims the key for this call, or says what stands of it. A key that is free is taken over, with one winner. */
  async claim(call: KeyedCall, claim: KeyClaim): Promise<FoundKey> {
    const requestHash = requestHashOf(call.route, call.body);
    for (let look = 0; look < MAX_LOOKS; look += 1) {
      const row = await this.insertOrRead(claim, requestHash);
      if (!row) continue;
      // Its own row: an earlier attempt that was not heard of.
      if (row.is_claimed || row.trace_id === claim.traceId) return { kind: 'claimed', claim };
      const found = await chargeOfTrace(this.pool, row.tenant_id, row.trace_id);
      const verdict = judgeKey({
        state: row.state,
        isSameRequest: row.is_same_request,
        isOwnerAlive: row.is_owner_alive,
        charge: found.state,
      });
      if (verdict === 'free') {
        if (await this.takeOver(claim, requestHash, row)) return { kind: 'claimed', claim };
      } else if (verdict !== 'replay') {
        return { kind: verdict, traceId: row.trace_id };
      } else if (row.sealed_answer && found.kept) {
        const owner = { ...claim, tenantId: row.tenant_id, traceId: row.trace_id };
        const sealed = { answer: row.sealed_answer, tail: row.sealed_tail };
        return { kind: 'replay', owner, sealed, amount: nanoUsd(found.kept.amount_nano_usd) };
      }
    }
    return { kind: 'running', traceId: claim.traceId };
  }

  /** Before the settle; without an answer the key stays taken, and a repeat is told so. */
  async keep(claim: KeyClaim, sealedAnswer: Buffer | null): Promise<void> {
    await this.pool.query({
      name: 'idempotency_keep',
      text: `update idempotency_key set state = case when $4::bytea is null then 'unkept' else 'stored' end, sealed_answer = $4
              where api_key_id = $1 and key_hash = $2 and trace_id = $3 and state = 'running'`,
      values: [claim.apiKeyId, claim.keyHash, claim.traceId, sealedAnswer],
    });
  }

  /** The last word of a call that is charged. One whose answer was not kept in time stays without. */
  async answered(claim: KeyClaim, sealedTail: Buffer | null): Promise<void> {
    await this.pool.query({
      name: 'idempotency_answered',
      text: `update idempotency_key set state = case when sealed_answer is null then 'unkept' else 'answered' end,
                    sealed_tail = case when sealed_answer is null then null else $4::bytea end
              where api_key_id = $1 and key_hash = $2 and trace_id = $3 and state in ('running', 'stored')`,
      values: [claim.apiKeyId, claim.keyHash, claim.traceId, sealedTail],
    });
  }

  /** The last word of a call that is not charged. Twice is harmless: it names the call. */
  async free(claim: KeyClaim): Promise<void> {
    await this.pool.query({
      name: 'idempotency_free',
      text: `delete from idempotency_key where api_key_id = $1 and key_hash = $2 and trace_id = $3`,
      values: [claim.apiKeyId, claim.keyHash, claim.traceId],
    });
  }

  /** Deletes at most so many keys that have expired; answers how many. */
  async deleteExpired(limit: number): Promise<number> {
    const { rowCount } = await this.pool.query(
      `delete from idempotency_key where (api_key_id, key_hash) in (
         select api_key_id, key_hash from idempotency_key
          where expires_at <= now() + $1 * interval '1 millisecond' order by expires_at limit $2 for update skip locked)`,
      [this.clock.offsetMs, limit],
    );
    return rowCount ?? 0;
  }

  private async insertOrRead(claim: KeyClaim, requestHash: Buffer): Promise<KeyRow | undefined> {
    const query = {
      name: 'idempotency_claim',
      text: CLAIM,
      values: [
        claim.apiKeyId,
        claim.keyHash,
        claim.tenantId,
        requestHash,
        claim.traceId,
        this.process.id,
        this.clock.offsetMs,
        this.settings.idempotencyTtlHours,
      ],
    };
    const { rows } = await retryTransaction(() => this.pool.query<KeyRow>(query));
    return rows[0];
  }

  /** False where somebody was faster. */
  private async takeOver(claim: KeyClaim, requestHash: Buffer, owner: KeyRow): Promise<boolean> {
    const task = {
      claim,
      requestHash,
      processId: this.process.id,
      ownerTraceId: owner.trace_id,
      ownerProcessId: owner.process_id,
      nowOffsetMs: this.clock.offsetMs,
      ttlHours: this.settings.idempotencyTtlHours,
    };
    try {
      const taken = await withTransaction(this.pool, (client) => takeOverKey(client, task));
      this.logger.log(`call ${claim.traceId} took over the idempotency key of ${owner.trace_id}`);
      if (taken.releasedHoldId !== undefined) this.projection.release(claim.tenantId, taken.releasedHoldId);
      if (taken.refunded) this.projection.tell(claim.tenantId, taken.refunded);
      return true;
    } catch (error) {
      if (error instanceof KeyMovedError) return false;
      throw error;
    }
  }
}

export function claimOf({ apiKeyId, tenantId, traceId, key }: KeyedCall): KeyClaim {
  return { apiKeyId, tenantId, traceId, keyHash: keyHashOf(key) };
}
