import { createHash } from 'node:crypto';
import { type Refusal, refuse } from '../../kernel/errors';
import type { NanoUsd } from '../../kernel/money';
import type { KeptAnswer } from './kept-answer';
import type { TraceState } from './trace-charge';

export const IDEMPOTENCY_HEADER = 'Idempotency-Key';

/** A call that names an Idempotency-Key. */
export interface KeyedCall {
  readonly apiKeyId: string;
  readonly tenantId: string;
  readonly traceId: string;
  /** As the client sent it; see keyRefusal. */
  readonly key: string;
  readonly route: string;
  readonly body: Buffer;
}

/** A key that is this call's: whoever has it ends it, once, by `answered` or by `free`. */
export interface KeyClaim {
  readonly apiKeyId: string;
  readonly tenantId: string;
  readonly traceId: string;
  readonly keyHash: Buffer;
}

export type ClaimOutcome =
  | { readonly kind: 'claimed'; readonly claim: KeyClaim }
  | { readonly kind: 'replay'; readonly replay: Replay }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

export interface Replay {
  readonly answer: KeptAnswer;
  /** Whose receipt applies. */
  readonly traceId: string;
  readonly amount: NanoUsd;
}

const VISIBLE_ASCII = /^[\x21-\x7e]{1,255}$/;

export function keyRefusal(key: string): Refusal | undefined {
  if (VISIBLE_ASCII.test(key)) return undefined;
  return refuse('INVALID_REQUEST', {
    param: IDEMPOTENCY_HEADER,
    values: { reason: 'must be 1 to 255 visible ASCII characters' },
  });
}

export function keyHashOf(key: string): Buffer {
  return createHash('sha256').update(key, 'latin1').digest();
}

/** Two requests are the same where route and raw bytes of the body are; another order of the same members is another. */
export function requestHashOf(route: string, body: Buffer): Buffer {
  return createHash('sha256').update(`${route}\n`).update(body).digest();
}

export type KeyState = 'running' | 'stored' | 'answered' | 'unkept';

/** What stands of a key that somebody has claimed before. */
export interface StandingKey {
  readonly state: KeyState;
  readonly isSameRequest: boolean;
  /** As the sweeper has decided; no clock of ours. */
  readonly isOwnerAlive: boolean;
  readonly charge: TraceState;
}

/**
 * - free: nobody answers it and nothing is charged for it, or what is charged has no answer and is given back: the key is
 *   taken over.
 * - replay: charged, and the answer is kept.
 * - not_kept: charged, and the answer could not be kept. Never a second charge.
 */
export type KeyVerdict = 'free' | 'other_request' | 'running' | 'replay' | 'not_kept';

/**
 *   charge        owner alive                    owner dead
 *   none, open    running                        free
 *   gone          free                           free
 *   kept          answered: replay               answered, stored: replay
 *                 unkept: not_kept               unkept: not_kept
 *                 running, stored: running       running: free
 */
export function judgeKey({ state, isSameRequest, isOwnerAlive, charge }: StandingKey): KeyVerdict {
  if (charge === 'gone') return 'free';
  if (!isOwnerAlive && (charge !== 'kept' || state === 'running')) return 'free';
  if (!isSameRequest) return 'other_request';
  if (charge !== 'kept') return 'running';
  if (state === 'unkept') return 'not_kept';
  return state === 'answered' || !isOwnerAlive ? 'replay' : 'running';
}
