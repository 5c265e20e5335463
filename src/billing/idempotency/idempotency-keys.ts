import { setTimeout as pause } from 'node:timers/promises';
import { type BeforeApplicationShutdown, Injectable, Logger } from '@nestjs/common';
import { messageOf } from '../../kernel/error-message';
import { refuse } from '../../kernel/errors';
import { LedgerCircuit } from '../../platform/circuit/ledger-circuit';
import { Settings } from '../../platform/config/settings';
import { SecretBox, SecretBoxError } from '../../platform/crypto/secret-box';
import { Metrics } from '../../platform/metrics/metrics';
import { retryPauseMs } from '../writer/retry-pause';
import { claimOf, type FoundKey, IdempotencyStore } from './idempotency.store';
import { type ClaimOutcome, IDEMPOTENCY_HEADER, type KeyClaim, type KeyedCall, keyRefusal } from './key-claim';
import {
  type AnswerTail,
  isTooLarge,
  joined,
  type KeptAnswer,
  packAnswer,
  packTail,
  unpackAnswer,
  unpackTail,
} from './kept-answer';

/** When a client should ask again for what is being answered. */
const RETRY_AFTER_MS = 1_000;
const FINISHED_WITHIN_MS = 2_000;
const MAX_RETRIES = 2;
const AWAY = refuse('BILLING_SERVICE_ERROR', { retryAfterMs: 1_000 });

/**
 * Idempotency keys of inference calls, from their claim to the answer that is sent again.
 *
 *   (claimed) running ─► stored ─► answered     before the settle; after it, before the last byte
 *       │        └─────► unkept                 the answer is too large, or Postgres did not take it in time
 *       └──────► (gone)                         nothing was charged: the key is free again
 *
 * Whether an answer may be sent again its charge alone says (judgeKey), so a process may die anywhere. Only the claim makes
 * a call fail: what Postgres does not take later is tried again in the background, and until then the key is taken.
 */
@Injectable()
export class IdempotencyKeys implements BeforeApplicationShutdown {
  private readonly logger = new Logger(IdempotencyKeys.name);
  private readonly underWay = new Set<Promise<unknown>>();
  private isLeaving = false;
  private isBehind = false;

  constructor(
    private readonly store: IdempotencyStore,
    private readonly secrets: SecretBox,
    private readonly settings: Settings,
    private readonly metrics: Metrics,
    private readonly circuit: LedgerCircuit,
  ) {}

  /** What Postgres has not taken by then is left to the rules for a dead owner. */
  async beforeApplicationShutdown(): Promise<void> {
    this.isLeaving = true;
    await Promise.race([Promise.allSettled(this.underWay), pause(FINISHED_WITHIN_MS, undefined, { ref: false })]);
  }

  /** Before anything is looked up or held for the call. Never rejects for what Postgres does. */
  async claim(call: KeyedCall): Promise<ClaimOutcome> {
    const malformed = keyRefusal(call.key);
    if (malformed) return { kind: 'refused', refusal: malformed };
    if (!this.circuit.takesWork) return { kind: 'refused', refusal: AWAY };
    const claim = claimOf(call);
    const claiming = stubborn(() => this.store.claim(call, claim));
    const found = await this.inTime(
      claiming.catch((error: unknown) => {
        this.logger.warn(`an idempotency key could not be claimed: ${messageOf(error)}`);
        return undefined;
      }),
    );
    if (found) return this.outcomeOf(found);
    this.freeUnheard(claim, claiming);
    return { kind: 'refused', refusal: AWAY };
  }

  /**
   * Before the settle: what the client is about to get; undefined is more than may be kept. Where Postgres does not take it
   * in time the answer is not kept: the settle must not wait longer.
   */
  async keep(claim: KeyClaim, answer: KeptAnswer | undefined): Promise<void> {
    const isKept = answer !== undefined && !isTooLarge(answer);
    const sealed = isKept ? this.secrets.sealBytes(packAnswer(answer), contextOf(claim, 'answer')) : null;
    await this.inTime(
      stubborn(() => this.store.keep(claim, sealed)).then(
        () => true,
        (error: unknown) => {
          this.logger.warn(`the answer of call ${claim.traceId} is not kept: ${messageOf(error)}`);
          return false;
        },
      ),
    );
  }

  /**
   * After the settle, before the last byte: the call is charged, or will be. Answers whether the tail is kept: where it is
   * not the client must not be sent it, so that every repeat is the same.
   */
  async answered(claim: KeyClaim, tail: AnswerTail | undefined): Promise<boolean> {
    const sealed = tail ? this.secrets.sealBytes(packTail(tail), contextOf(claim, 'tail')) : null;
    const first = stubborn(() => this.store.answered(claim, sealed)).then(
      () => true,
      () => false,
    );
    if (await this.inTime(first)) return true;
    // A first attempt that arrives after all may bring its tail: nobody has seen anything else.
    void this.forward(`the answer of call ${claim.traceId} is not marked`, () => this.store.answered(claim, null));
    return false;
  }

  /**
   * Nothing is charged for the call. Where a charge was opened, `ended` says whether its ending stands: not before is the
   * key free, and never where its process gave it up. Resolves when it is free, or has been waited for long enough.
   */
  async free(claim: KeyClaim, ended: Promise<boolean> = Promise.resolve(true)): Promise<void> {
    const freed = ended.then((hasEnded) =>
      hasEnded ? this.forward(`the key of call ${claim.traceId} is not free`, () => this.store.free(claim)) : undefined,
    );
    await this.inTime(freed);
  }

  private outcomeOf(found: FoundKey): ClaimOutcome {
    switch (found.kind) {
      case 'claimed':
        return found;
      case 'replay':
        return this.replayOf(found);
      case 'other_request':
        return { kind: 'refused', refusal: refuse('IDEMPOTENCY_KEY_REUSED', { param: IDEMPOTENCY_HEADER }) };
      case 'running':
        return { kind: 'refused', refusal: refuse('IDEMPOTENCY_KEY_IN_USE', { retryAfterMs: RETRY_AFTER_MS }) };
      case 'not_kept':
        return notKept(found.traceId);
    }
  }

  private replayOf({ owner, sealed, amount }: Extract<FoundKey, { kind: 'replay' }>): ClaimOutcome {
    try {
      const answer = unpackAnswer(this.secrets.openBytes(sealed.answer, contextOf(owner, 'answer')));
      const tail = sealed.tail ? unpackTail(this.secrets.openBytes(sealed.tail, contextOf(owner, 'tail'))) : undefined;
      this.metrics.billingIdempotentHit.inc();
      return { kind: 'replay', replay: { answer: joined(answer, tail), traceId: owner.traceId, amount } };
    } catch (error) {
      if (!(error instanceof SecretBoxError)) throw error;
      // ENCRYPTION_KEY is another one now. It was charged all the same.
      this.logger.error(`the answer of call ${owner.traceId} cannot be sent again: ${error.message}`);
      return notKept(owner.traceId);
    }
  }

  /** The claim may stand all the same, or still be on its way: nobody would ever end it. */
  private freeUnheard(claim: KeyClaim, claiming: Promise<FoundKey>): void {
    const free = (): Promise<void> =>
      this.forward(`the key of call ${claim.traceId} is not free`, () => this.store.free(claim));
    void claiming.then(
      (found) => (found.kind === 'claimed' ? free() : undefined),
      async () => {
        await free();
        await pause(this.settings.databaseStatementMs, undefined, { ref: false });
        await free();
      },
    );
  }

  /** Tries until Postgres takes it or the process leaves. What waits is bounded by the calls that were claimed before. */
  private forward(whatIsDue: string, work: () => Promise<void>): Promise<void> {
    const attempts = async (): Promise<void> => {
      for (let attempt = 0; ; attempt += 1) {
        try {
          await work();
          this.isBehind = false;
          return;
        } catch (error) {
          if (!this.isBehind) this.logger.warn(`${whatIsDue}, it is tried again: ${messageOf(error)}`);
          this.isBehind = true;
          if (this.isLeaving) return;
        }
        await pause(retryPauseMs(attempt), undefined, { ref: false });
      }
    };
    const done = attempts().finally(() => this.underWay.delete(done));
    this.underWay.add(done);
    return done;
  }

  /** Undefined where it took longer than a call waits for the ledger. */
  private async inTime<T>(work: Promise<T>): Promise<T | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(resolve, this.settings.billingWaitMs, undefined);
    });
    return Promise.race([work, late]).finally(() => {
      clearTimeout(timer);
    });
  }
}

/** A connection may break once, and its last commit stay unheard: each of these statements may come twice. */
async function stubborn<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt >= MAX_RETRIES) throw error;
    }
    await pause(retryPauseMs(attempt));
  }
}

/** Names API key, key and call: a row that was moved to another of them does not open. */
function contextOf({ apiKeyId, keyHash, traceId }: KeyClaim, part: 'answer' | 'tail'): string {
  return `idempotency ${part} ${apiKeyId} ${keyHash.toString('hex')} ${traceId}`;
}

function notKept(traceId: string): ClaimOutcome {
  return { kind: 'refused', refusal: refuse('IDEMPOTENCY_ANSWER_NOT_KEPT', { values: { trace_id: traceId } }) };
}
