import { Test, type TestingModule } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import type { Pool } from 'pg';
import type { Delivered, Settlement } from '../../src/billing/charge';
import { BillingModule } from '../../src/billing/billing.module';
import { LedgerService } from '../../src/billing/ledger/ledger.service';
import { Charges } from '../../src/billing/settlement/charges';
import { CHECKPOINT_EVERY_MS } from '../../src/billing/settlement/checkpoints';
import type { OpenCharge } from '../../src/billing/settlement/open-charge';
import { pendingRow } from '../../src/billing/writer/charge-rows';
import { NO_TOKENS, type FrozenPrice } from '../../src/catalogue/price';
import { newId } from '../../src/kernel/ids';
import { type NanoUsd, nanoUsd, ZERO_NANO_USD } from '../../src/kernel/money';
import type { Settings } from '../../src/platform/config/settings';
import { SettingsModule } from '../../src/platform/config/settings.module';
import { PG_POOL } from '../../src/platform/database/pg-pool';
import { MetricsModule } from '../../src/platform/metrics/metrics.module';
import { RedisConnection } from '../../src/platform/redis/redis-connection';
import { type HoldRequest, QUOTA_STORE, type QuotaStore, type ReserveOutcome } from '../../src/quota/quota-store.port';
import { type CallerLimits, NO_LIMITS } from '../../src/quota/scopes/caller-limits';
import { SyncModule } from '../../src/sync/sync.module';
import { testSettings } from './test-settings';

/** Checkpoints are written when a test says so. */
const NEVER_MS = 86_400_000;

const PATIENT_REDIS_MS = 20_000;

/** One process' worth of the money path on real servers: quota, ledger, writer, sweeper. */
export interface MoneyProcess {
  readonly module: TestingModule;
  readonly store: QuotaStore;
  readonly charges: Charges;
  readonly ledger: LedgerService;
  readonly pool: Pool;
  readonly redis: RedisConnection;
  close(): Promise<void>;
}

export async function startMoneyProcess(overrides: Partial<Settings>): Promise<MoneyProcess> {
  const module = await Test.createTestingModule({
    imports: [SettingsModule.register(testSettings(overrides)), MetricsModule, BillingModule, SyncModule],
  })
    .overrideProvider(CHECKPOINT_EVERY_MS)
    .useValue(NEVER_MS)
    .compile();
  module.useLogger(false);
  const redis = module.get(RedisConnection);
  await module.init();
  return {
    module,
    store: module.get<QuotaStore>(QUOTA_STORE),
    charges: module.get(Charges),
    ledger: module.get(LedgerService),
    pool: module.get<Pool>(PG_POOL),
    redis,
    close: () => module.close(),
  };
}

/**
 * From now on the process waits for its Redis as long as any answer takes. Who stands still for a second, as on a busy
 * machine, finds its own timer over before the answer that came in time: rightly another try, and no test of that.
 */
export function withPatience(process: MoneyProcess): MoneyProcess {
  process.redis.client.options.commandTimeout = PATIENT_REDIS_MS;
  return process;
}

export interface TestTenant {
  readonly limits: CallerLimits;
}

/** A tenant with its accounts and a posted balance, straight in the database and the ledger. */
export async function createTenant(
  process: MoneyProcess,
  balance: NanoUsd,
  overrides: Partial<Omit<CallerLimits, 'tenantId'>> = {},
): Promise<CallerLimits> {
  const limits: CallerLimits = {
    tenantId: newId(),
    timezone: 'UTC',
    creditLimit: ZERO_NANO_USD,
    ...NO_LIMITS,
    ...overrides,
  };
  await process.pool.query(`insert into tenant (id, name, timezone) values ($1, 'test', $2)`, [
    limits.tenantId,
    limits.timezone,
  ]);
  await process.pool.query(
    `insert into ledger_account (id, tenant_id, name, posted_nano_usd, credit_limit_nano_usd)
       values ($1, $3, 'wallet', 0, $4), ($2, $3, 'overrun', 0, 0)`,
    [newId(), newId(), limits.tenantId, limits.creditLimit.toString()],
  );
  if (balance !== 0n) await adjust(process, limits.tenantId, balance);
  return limits;
}

export async function adjust(
  process: MoneyProcess,
  tenantId: string,
  amount: NanoUsd,
  account: 'wallet' | 'promo' = 'wallet',
): Promise<void> {
  await process.ledger.adjust({
    account,
    tenantId,
    amount,
    reasonCode: 'TEST',
    description: 'test',
    idempotencyKey: randomUUID(),
    actor: 'test',
  });
}

/** Of every call that holdRequest makes. */
export const INPUT_TOKENS_ESTIMATE = 11;

/** Each output token costs exactly one nano-USD. */
export const ONE_NANO_A_TOKEN: FrozenPrice = {
  version: '1',
  perMillionTokens: {
    inputUncached: 1_000_000n,
    inputCached: 1_000_000n,
    cacheWrite: 1_000_000n,
    output: 1_000_000n,
    reasoning: 1_000_000n,
    audio: 1_000_000n,
    image: 1_000_000n,
  },
  tiers: [],
  perRequestNanoUsd: ZERO_NANO_USD,
  multiplierMillionths: 1_000_000n,
};

/** A call of one nano-USD a token, with whatever a test wants otherwise. */
export function holdRequest(
  limits: CallerLimits,
  amount: bigint,
  overrides: Partial<HoldRequest> = {},
  isStream = true,
): HoldRequest {
  return {
    holdId: newId(),
    limits,
    amount: nanoUsd(amount),
    tokens: Number(amount),
    service: 'chat',
    platform: 'openai',
    pending: pendingRow({
      traceId: newId(),
      channel: 'external',
      isStream,
      apiKeyId: newId(),
      apiKeyName: 'test key',
      model: 'test-model',
      price: ONE_NANO_A_TOKEN,
      inputTokens: INPUT_TOKENS_ESTIMATE,
    }),
    ...overrides,
  };
}

export function reserve(process: MoneyProcess, limits: CallerLimits, amount: bigint): Promise<ReserveOutcome> {
  return process.store.reserve(holdRequest(limits, amount));
}

/** Reserves and opens a charge; throws where the reservation is refused. */
export async function openCharge(
  process: MoneyProcess,
  limits: CallerLimits,
  amount: bigint,
  isStream = true,
): Promise<OpenCharge> {
  const request = holdRequest(limits, amount, {}, isStream);
  const outcome = await process.store.reserve(request);
  if (!outcome.admitted) throw new Error(`refused: ${outcome.refusal.code}`);
  const charge = process.charges.begin(outcome.hold, request, ONE_NANO_A_TOKEN);
  if ('code' in charge) throw new Error(`refused: ${charge.code}`);
  return charge;
}

/** Whatever was delivered. */
const UPSTREAM_COST = nanoUsd(3n);
const SERVED_BY = { upstreamId: newId(), upstreamName: 'test upstream', providerName: 'test provider' };

export function outputOf(tokens: number): Settlement {
  return { ...deliveredOf(tokens), method: 'usage', endReason: 'complete' };
}

/** What a stream may have delivered so far. */
export function deliveredOf(outputTokens: number): Delivered {
  const tokens = { ...NO_TOKENS, output: outputTokens };
  return { tokens, method: 'estimated', servedBy: SERVED_BY, upstreamCost: UPSTREAM_COST };
}
