import type { SettledCharge } from '../../src/billing/charge';
import { IdempotencyKeys } from '../../src/billing/idempotency/idempotency-keys';
import type { ClaimOutcome, KeyClaim } from '../../src/billing/idempotency/key-claim';
import type { KeptAnswer } from '../../src/billing/idempotency/kept-answer';
import type { OpenCharge } from '../../src/billing/settlement/open-charge';
import type { Refusal } from '../../src/kernel/errors';
import { newId } from '../../src/kernel/ids';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { holdRequest, type MoneyProcess, ONE_NANO_A_TOKEN, outputOf } from './money-harness';

export interface KeyedRequest {
  readonly apiKeyId: string;
  readonly limits: CallerLimits;
  readonly key: string;
  readonly body?: string;
}

const HOLD = 300n;
const NOTHING = Buffer.alloc(0);

/** One call with an idempotency key, step by step as the gateway makes them, at the pace of the test. */
export class KeyedOwner {
  readonly traceId = newId();
  charge: OpenCharge | undefined;
  private kept: KeyClaim | undefined;

  constructor(
    readonly process: MoneyProcess,
    private readonly request: KeyedRequest,
  ) {}

  get keys(): IdempotencyKeys {
    return this.process.module.get(IdempotencyKeys);
  }

  get answerText(): string {
    return `the answer of ${this.traceId}`;
  }

  get held(): OpenCharge {
    if (!this.charge) throw new Error('the call has no charge');
    return this.charge;
  }

  async claim(): Promise<ClaimOutcome> {
    const { apiKeyId, limits, key, body = '{}' } = this.request;
    const call = { apiKeyId, tenantId: limits.tenantId, traceId: this.traceId, key, route: '/v1/test' };
    const outcome = await this.keys.claim({ ...call, body: Buffer.from(body) });
    if (outcome.kind === 'claimed') this.kept = outcome.claim;
    return outcome;
  }

  /** Undefined where it was not admitted. `beforeRow` comes after the hold, before anything is known of it in Postgres. */
  async reserve(beforeRow: () => Promise<void> = () => Promise.resolve()): Promise<OpenCharge | undefined> {
    const request = holdRequest(this.request.limits, HOLD);
    const named = { ...request, pending: { ...request.pending, trace_id: this.traceId } };
    const outcome = await this.process.store.reserve(named);
    if (!outcome.admitted) return undefined;
    await beforeRow();
    const charge = this.process.charges.begin(outcome.hold, named, ONE_NANO_A_TOKEN);
    this.charge = 'code' in charge ? undefined : charge;
    return this.charge;
  }

  keep(answer: KeptAnswer | undefined = this.answer()): Promise<void> {
    return this.keys.keep(this.claimed, answer);
  }

  settle(tokens: number): Promise<SettledCharge | Refusal> {
    return this.held.settle(outputOf(tokens));
  }

  answered(isCostTold = true): Promise<boolean> {
    const tail = { headers: { 'x-cost': 'told' }, ending: Buffer.from('!') };
    return this.keys.answered(this.claimed, isCostTold ? tail : undefined);
  }

  free(): Promise<void> {
    return this.keys.free(this.claimed, this.charge?.whenEnded());
  }

  /** To its end: whether it was charged and answered. */
  async finish(tokens: number): Promise<boolean> {
    if (!this.charge && !(await this.reserve())) {
      await this.free();
      return false;
    }
    await this.keep();
    const settled = await this.settle(tokens).catch((): Refusal => ({ code: 'INTERNAL_ERROR' }));
    if ('code' in settled) {
      await this.free();
      return false;
    }
    await this.answered();
    return true;
  }

  answer(): KeptAnswer {
    const headers = { 'content-type': 'text/plain' };
    return { status: 200, headers, body: Buffer.from(this.answerText), ending: NOTHING };
  }

  private get claimed(): KeyClaim {
    if (!this.kept) throw new Error('the call has no key');
    return this.kept;
  }
}
