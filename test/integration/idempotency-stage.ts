import { ManualClock, DEAD_AFTER_MS, idOf, openSweepStage, sweeperOf, type SweepStage } from './hold-sweeper-stage';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { KeyedOwner, type KeyedRequest } from '../support/keyed-owner';
import { createTenant, type MoneyProcess } from '../support/money-harness';

export const INITIAL = 1_000_000n;
/** In tokens, of one nano-USD each. */
export const OWNERS_COST = 100;
export const HEIRS_COST = 77;

export interface Booked {
  readonly type: string;
  readonly status: string;
  readonly trace_id: string;
  /** Of a charge: what was not given back. */
  readonly kept: number;
  readonly reason_code: string | null;
  readonly original_transaction_id: string | null;
}

/** A process whose calls have idempotency keys and which may die, and one that lives and is asked again. */
export class KeyStage {
  private readonly clock = new ManualClock();

  private constructor(
    private readonly servers: SweepStage,
    readonly living: MoneyProcess,
    public doomed: MoneyProcess,
    public limits: CallerLimits,
    public request: KeyedRequest,
  ) {}

  static async open(): Promise<KeyStage> {
    const servers = await openSweepStage();
    const living = await servers.start({ testClockOffsetMs: 0 });
    const doomed = await servers.start();
    const limits = await createTenant(living, nanoUsd(INITIAL));
    return new KeyStage(servers, living, doomed, limits, { apiKeyId: newId(), limits, key: 'a-key' });
  }

  /** Another tenant with another key, and another process that may die. */
  async renew(): Promise<void> {
    this.doomed = await this.servers.start();
    this.limits = await createTenant(this.living, nanoUsd(INITIAL));
    this.request = { apiKeyId: newId(), limits: this.limits, key: 'a-key' };
  }

  close(): Promise<void> {
    return this.servers.close();
  }

  owner(overrides: Partial<KeyedRequest> = {}): KeyedOwner {
    return new KeyedOwner(this.doomed, { ...this.request, ...overrides });
  }

  heir(overrides: Partial<KeyedRequest> = {}): KeyedOwner {
    return new KeyedOwner(this.living, { ...this.request, ...overrides });
  }

  async claimed(call: KeyedOwner): Promise<KeyedOwner> {
    expect(await this.kindOf(call)).toBe('claimed');
    return call;
  }

  /** With a PENDING row that stands. */
  async admitted(call: KeyedOwner): Promise<KeyedOwner> {
    await this.claimed(call);
    const charge = await call.reserve();
    expect(charge).toBeDefined();
    expect(await charge?.durable()).toBeUndefined();
    return call;
  }

  async declareDead(): Promise<void> {
    await this.living.pool.query(`update gateway_process set status = 'dead' where id = $1`, [idOf(this.doomed)]);
  }

  async sweep(): Promise<void> {
    await this.declareDead();
    this.clock.pass(DEAD_AFTER_MS);
    await sweeperOf(this.living, this.clock).sweep();
  }

  async booked(): Promise<readonly Booked[]> {
    const { rows } = await this.living.pool.query<Booked>(
      `select type, status, trace_id, reason_code, original_transaction_id,
              case status when 'COMMITTED' then (amount_nano_usd - refunded_nano_usd)::int else 0 end as kept
         from billing_transaction where tenant_id = $1 and type <> 'adjustment' order by id`,
      [this.limits.tenantId],
    );
    return rows;
  }

  /** What is kept of all charges, and what the wallet has paid. */
  async paid(): Promise<{ readonly charges: readonly number[]; readonly wallet: number }> {
    const charges = (await this.booked()).filter(({ type, kept }) => type !== 'refund' && kept > 0);
    const { rows } = await this.living.pool.query<{ paid: number }>(
      `select ($2 - posted_nano_usd)::int as paid from ledger_account where tenant_id = $1 and name = 'wallet'`,
      [this.limits.tenantId, INITIAL.toString()],
    );
    return { charges: charges.map(({ kept }) => kept), wallet: rows[0]?.paid ?? NaN };
  }

  async heirIsCharged(): Promise<KeyedOwner> {
    const call = await this.claimed(this.heir());
    expect(await call.finish(HEIRS_COST)).toBe(true);
    return call;
  }

  async settleTold(call: KeyedOwner, tokens = OWNERS_COST): Promise<string> {
    const settled = await call.settle(tokens);
    return 'code' in settled ? settled.code : 'charged';
  }

  async kindOf(call: KeyedOwner): Promise<string> {
    const outcome = await call.claim();
    return outcome.kind === 'refused' ? outcome.refusal.code : outcome.kind;
  }

  async replayed(call: KeyedOwner): Promise<string> {
    const outcome = await call.claim();
    if (outcome.kind !== 'replay') throw new Error(`not replayed: ${outcome.kind}`);
    const { answer } = outcome.replay;
    return Buffer.concat([answer.body, answer.ending]).toString('utf8');
  }
}
