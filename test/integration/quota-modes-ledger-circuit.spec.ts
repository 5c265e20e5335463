import { nanoUsd } from '../../src/kernel/money';
import { LedgerCircuit } from '../../src/platform/circuit/ledger-circuit';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { QuotaUnavailableError } from '../../src/quota/quota-store.port';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import type { OpenCharge } from '../../src/billing/settlement/open-charge';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { eventually } from '../support/eventually';
import {
  createTenant,
  holdRequest,
  type MoneyProcess,
  ONE_NANO_A_TOKEN,
  openCharge,
  outputOf,
  reserve,
  startMoneyProcess,
} from '../support/money-harness';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

const WAIT_MS = 300;
const OPEN_MS = 1_000;

describe('a Postgres that does not answer', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let wire: TcpProxy;
  let money: MoneyProcess;
  let limits: CallerLimits;

  beforeEach(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    wire = await startTcpProxy(database.url);
    money = await startMoneyProcess({
      databaseUrl: wire.url,
      redisUrl: redis.url,
      processBeatMs: 3_600_000,
      processDeadMs: 14_400_000,
      billingWaitMs: WAIT_MS,
      billingCircuitFailures: 5,
      billingCircuitOpenMs: OPEN_MS,
    });
    limits = await createTenant(money, nanoUsd(1_000n));
    const warm = await openCharge(money, limits, 1n);
    await warm.durable();
    await warm.settle(outputOf(1));
  });

  afterEach(async () => {
    mend();
    await money.close();
    await Promise.all([redis.stop(), wire.close()]);
    await database.drop();
  });

  function mend(): void {
    wire.setMode('pass');
    wire.reset();
  }

  async function begin(): Promise<OpenCharge | { code: string }> {
    const request = holdRequest(limits, 1n);
    const outcome = await money.store.reserve(request);
    if (!outcome.admitted) throw new Error(outcome.refusal.code);
    return money.charges.begin(outcome.hold, request, ONE_NANO_A_TOKEN);
  }

  it('is not waited for by new calls once five have waited in vain, and is tried by one of them later', async () => {
    wire.setMode('silence');
    for (let call = 0; call < 5; call += 1) {
      const charge = await begin();
      if ('code' in charge) throw new Error(`call ${call} was not tried`);
      expect(await charge.durable()).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
      void charge.void({ reasonCode: 'TEST', endReason: 'failed' });
    }
    await eventually('the circuit is open', () => (money.module.get(LedgerCircuit).level === 2 ? true : undefined));
    const startedMs = performance.now();
    for (let call = 0; call < 20; call += 1) expect(await begin()).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
    expect(performance.now() - startedMs).toBeLessThan(WAIT_MS);

    mend();
    const charge = await eventually('a call tries', async () => {
      const tried = await begin();
      return 'code' in tried ? undefined : tried;
    });
    expect(await charge.durable()).toBeUndefined();
    await eventually('it is closed', () => (money.module.get(LedgerCircuit).level === 0 ? true : undefined));
    await charge.settle(outputOf(1));
    await eventually('all is told', () => money.module.get(ProjectionQueue).depth === 0 || undefined);
    const proof = await money.module.get(Invariants).check();
    expect(proof.filter(({ verdict }) => verdict !== 'holds')).toEqual([]);
  }, 30_000);

  it('is not waited for where it decides itself', async () => {
    await money.module.get(EpochAuthority).switchToPostgres('test');
    await reserve(money, limits, 1n);
    wire.setMode('silence');
    for (let call = 0; call < 5; call += 1) {
      await expect(reserve(money, limits, 1n)).rejects.toThrow('not answered in time');
    }
    const startedMs = performance.now();
    await expect(reserve(money, limits, 1n)).rejects.toThrow(QuotaUnavailableError);
    await expect(reserve(money, limits, 1n)).rejects.toMatchObject({ mayHold: false });
    expect(performance.now() - startedMs).toBeLessThan(WAIT_MS);
    mend();
    await eventually('a call tries', () =>
      reserve(money, limits, 1n).then(
        ({ admitted }) => admitted || undefined,
        () => undefined,
      ),
    );
  }, 30_000);
});
