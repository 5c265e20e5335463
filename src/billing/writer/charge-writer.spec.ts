import { ChargeWriterHarness, settledAt, VOIDED } from '../../../test/support/charge-writer-harness';
import { eventually } from '../../../test/support/eventually';
import {
  LOCK_TIMEOUT_MS,
  type ChargeWriter,
  type Ending,
  type EndResult,
  type PendingAdmission,
} from './charge-writer';

let harness: ChargeWriterHarness;

beforeAll(async () => {
  harness = await ChargeWriterHarness.open();
});
afterEach(() => harness.releaseLocks());
afterAll(() => harness.close());

/** The main lane meets a held lock once: one timeout, one turn beside other blocked ones, and room for a busy machine. */
const UNBLOCKED_WITHIN_MS = 4 * LOCK_TIMEOUT_MS;

function admitted(tenantId: string, writer = harness.writer): PendingAdmission {
  const admission = writer.admit(harness.row(tenantId));
  if (!admission) throw new Error('the queue is full');
  return admission;
}

async function standing(tenantId: string, charges: number, writer = harness.writer): Promise<PendingAdmission[]> {
  const admissions = Array.from({ length: charges }, () => admitted(tenantId, writer));
  await Promise.all(admissions.map((admission) => admission.done));
  return admissions;
}

function endAll(admissions: readonly PendingAdmission[], nanoUsd: number, writer?: ChargeWriter): Promise<EndResult[]> {
  return Promise.all(
    admissions.map((admission) => (writer ?? harness.writer).end(admission, { fields: settledAt(nanoUsd) })),
  );
}

async function millisecondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

/** Tells whether a promise has settled, without waiting for it. */
function watch(promise: Promise<unknown>): { isSettled: boolean } {
  const watched = { isSettled: false };
  const settle = (): void => {
    watched.isSettled = true;
  };
  promise.then(settle, settle);
  return watched;
}

/** An insert of the same charge that somebody has not committed yet: its PENDING row waits for the outcome. */
function holdCharge(admission: { readonly id: string; readonly tenant_id: string }): Promise<() => Promise<void>> {
  return harness.hold(
    `insert into billing_transaction (id, tenant_id, trace_id, type, status, channel)
       values ($1, $2, $1, 'charge', 'PENDING', 'external')`,
    [admission.id, admission.tenant_id],
  );
}

describe('a tenant whose wallet somebody else has locked', () => {
  it('delays the endings of no other tenant, and gets its own once the lock goes, each once', async () => {
    const [blocked, other] = [await harness.createTenant(1_000n), await harness.createTenant(1_000n)];
    const rounds = 5;
    const [ofBlocked, ofOther] = [await standing(blocked, 2 * rounds), await standing(other, 2 * rounds)];
    const unlock = await harness.lockWallet(blocked);

    const waiting: Promise<EndResult[]>[] = [];
    const endBoth = (at: number): Promise<unknown> => {
      waiting.push(endAll(ofBlocked.slice(at, at + 1), 3));
      return endAll(ofOther.slice(at, at + 1), 5);
    };
    expect(await millisecondsOf(() => endBoth(0))).toBeLessThan(UNBLOCKED_WITHIN_MS);
    // The tenant is known to be blocked: later endings of others do not wait for its lock again.
    const laterMs = await millisecondsOf(async () => {
      for (let at = 1; at <= rounds; at += 1) await endBoth(at);
    });
    expect(laterMs).toBeLessThan(rounds * LOCK_TIMEOUT_MS);
    const watched = watch(Promise.race(waiting));
    expect((await harness.accounts(blocked)).wallet).toEqual({ posted: 1_000n, version: 0n });
    expect(harness.writer.depth.endings).toBe(rounds + 1);
    expect(watched.isSettled).toBe(false);

    await unlock();
    const results = (await Promise.all(waiting)).flat();
    expect(results.map(({ outcome }) => outcome)).toEqual(Array.from({ length: rounds + 1 }, () => 'committed'));
    expect((await harness.accounts(blocked)).wallet).toEqual({ posted: 1_000n - 6n * 3n, version: 6n });
    expect((await harness.accounts(other)).wallet).toEqual({ posted: 1_000n - 6n * 5n, version: 6n });
    expect(harness.writer.depth).toEqual({ admissions: 0, endings: 0, extensions: 0 });

    // It is back in the main lane with the others.
    await Promise.all([endAll(ofBlocked.slice(rounds + 1), 3), endAll(ofOther.slice(rounds + 1), 5)]);
    expect((await harness.accounts(blocked)).wallet).toEqual({ posted: 1_000n - 10n * 3n, version: 10n });
  });

  it('delays no other tenant where many tenants are blocked at once', async () => {
    const blocked = await Promise.all(Array.from({ length: 6 }, () => harness.createTenant(100n)));
    const other = await harness.createTenant(100n);
    const ofBlocked = await Promise.all(blocked.map((tenantId) => standing(tenantId, 1)));
    const ofOther = await standing(other, 1);
    const unlocks = await Promise.all(blocked.map((tenantId) => harness.lockWallet(tenantId)));
    const waiting = ofBlocked.map((admissions) => endAll(admissions, 1));
    expect(await millisecondsOf(() => endAll(ofOther, 1))).toBeLessThan(UNBLOCKED_WITHIN_MS);
    await Promise.all(unlocks.map((unlock) => unlock()));
    await Promise.all(waiting);
    for (const tenantId of [...blocked, other]) {
      expect((await harness.accounts(tenantId)).wallet).toEqual({ posted: 99n, version: 1n });
    }
  });

  it('delays the PENDING rows of no other tenant', async () => {
    const [blocked, other] = [await harness.createTenant(), await harness.createTenant()];
    const row = harness.row(blocked);
    const release = await holdCharge(row);
    const waiting = harness.writer.admit(row);
    expect(await millisecondsOf(() => standing(other, 1))).toBeLessThan(UNBLOCKED_WITHIN_MS);
    expect(waiting?.state).toBe('writing');
    await release();
    expect(await waiting?.done).toBe('admitted');
  });

  it('is awaited by the drain', async () => {
    const writer = harness.newWriter();
    const tenantId = await harness.createTenant(10n);
    const admissions = await standing(tenantId, 1, writer);
    const unlock = await harness.lockWallet(tenantId);
    const ending = watch(endAll(admissions, 4, writer));
    await eventually('the ending has left', () => (writer.depth.endings === 0 ? true : undefined));
    await eventually('the ending has been put aside', () => (writer.depth.endings === 1 ? true : undefined));
    const draining = writer.drain(30_000);
    await unlock();
    await draining;
    expect(ending.isSettled).toBe(true);
    expect((await harness.accounts(tenantId)).wallet).toEqual({ posted: 6n, version: 1n });
    await writer.onApplicationShutdown();
  });

  it('is given up by a drain whose time is over: its row stays for the sweeper, nothing is charged', async () => {
    const writer = harness.newWriter();
    const tenantId = await harness.createTenant(10n);
    const [admission, ...none] = await standing(tenantId, 1, writer);
    const unlock = await harness.lockWallet(tenantId);
    const ending = expect(endAll(admission ? [admission] : none, 4, writer)).rejects.toMatchObject({ code: '55P03' });
    await writer.drain(LOCK_TIMEOUT_MS);
    await ending;
    await unlock();
    expect(await harness.statusOf(admission?.row.id ?? '')).toEqual({ status: 'PENDING', reason_code: null });
    expect((await harness.accounts(tenantId)).wallet).toEqual({ posted: 10n, version: 0n });
    await writer.onApplicationShutdown();
  });
});

describe('the drain of the writer', () => {
  it('waits for an ending that waits for its PENDING row', async () => {
    const writer = harness.newWriter();
    const tenantId = await harness.createTenant(10n);
    const row = harness.row(tenantId);
    const release = await holdCharge(row);
    const admission = writer.admit(row);
    if (!admission) throw new Error('the queue is full');
    await eventually('the row is on its way', () => (admission.state === 'writing' ? true : undefined));
    const ending = watch(endAll([admission], 4, writer));
    const draining = writer.drain(30_000);
    await release();
    await draining;
    expect(ending.isSettled).toBe(true);
    expect((await harness.accounts(tenantId)).wallet).toEqual({ posted: 6n, version: 1n });
    await writer.onApplicationShutdown();
  });
});

describe('an ending that Postgres refuses for ever', () => {
  const refused = (): Ending => ({ fields: { ...settledAt(1), amount_nano_usd: '9223372036854775808' } });

  it('voids its PENDING row, is counted, told to the caller, and costs the others of its batch nothing', async () => {
    const tenantId = await harness.createTenant(1_000n);
    const [bad, ...good] = await standing(tenantId, 20);
    if (!bad) throw new Error('nothing was admitted');
    const counted = jest.spyOn(harness.metrics.billingDeductFailure.of('invalid_row'), 'inc');
    const ending = harness.writer.end(bad, refused());
    const others = endAll(good, 2);
    await expect(ending).rejects.toMatchObject({ code: '22003' });
    expect(await harness.statusOf(bad.row.id)).toEqual({ status: 'VOIDED', reason_code: 'REFUSED_ROW' });
    expect((await others).map(({ outcome }) => outcome)).toEqual(good.map(() => 'committed'));
    expect((await harness.accounts(tenantId)).wallet).toEqual({ posted: 1_000n - 19n * 2n, version: 19n });
    expect(counted).toHaveBeenCalledTimes(1);
    counted.mockRestore();
  });

  it('voids its PENDING row also where its owner has withdrawn it while the refusal was on its way', async () => {
    const [bad] = await standing(await harness.createTenant(1_000n), 1);
    if (!bad) throw new Error('nothing was admitted');
    const ending = refused();
    const counted = jest.spyOn(harness.metrics.billingDeductFailure.of('invalid_row'), 'inc');
    counted.mockImplementationOnce(() => (ending.fields = VOIDED));
    await expect(harness.writer.end(bad, ending)).rejects.toMatchObject({ code: '22003' });
    expect(await harness.statusOf(bad.row.id)).toEqual({ status: 'VOIDED', reason_code: 'REFUSED_ROW' });
    counted.mockRestore();
  });

  it('leaves a VOIDED row also where no PENDING row had been written', async () => {
    const row = harness.row(await harness.createTenant(), { is_stream: false });
    const admission = harness.writer.admit(row);
    if (!admission) throw new Error('the queue is full');
    await expect(harness.writer.end(admission, refused())).rejects.toMatchObject({ code: '22003' });
    expect(await harness.statusOf(row.id)).toEqual({ status: 'VOIDED', reason_code: 'REFUSED_ROW' });
  });
});

describe('the bounds of an account', () => {
  const USD = 1_000_000_000n;

  it('refuse no charge that takes a wallet down to a high credit limit, nor what goes to overrun then', async () => {
    const limit = 6_000_000n * USD;
    const tenantId = await harness.createTenant(0n, limit);
    const admissions = Array.from({ length: 4 }, () => {
      const row = harness.row(tenantId, { credit_limit_nano_usd: limit.toString() });
      return harness.writer.admit(row);
    }).flatMap((admission) => admission ?? []);
    const results = await endAll(admissions, Number(5_000_000n * USD));
    expect(results.map(({ outcome }) => outcome)).toEqual(admissions.map(() => 'committed'));
    const { wallet, overrun } = await harness.accounts(tenantId);
    expect([wallet.posted, overrun.posted]).toEqual([-limit, -14_000_000n * USD]);
  });

  it.each([
    ['a balance and credit limit beyond 9,000,000 USD together', 5_000_000n, 4_000_001n],
    ['a wallet below -9,000,000 USD', -9_000_001n, 0n],
    ['a credit limit beyond 9,000,000 USD', -1n, 9_000_001n],
  ])('refuse %s', async (_, posted, limit) => {
    await expect(harness.createTenant(posted * USD, limit * USD)).rejects.toMatchObject({ code: '23514' });
  });
});
