import { Client } from 'pg';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import type { OpenCharge } from '../../src/billing/settlement/open-charge';
import { ChargeWriter } from '../../src/billing/writer/charge-writer';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { DeadCharges } from '../../src/sync/dead-charges';
import { eventually } from '../support/eventually';
import { adjust, createTenant, type MoneyProcess, openCharge, outputOf, reserve } from '../support/money-harness';
import { usedIn } from '../support/projection';
import { expectInvariants, idOf, openSweepStage, statusOfCharge, type SweepStage } from './hold-sweeper-stage';

const INITIAL = 1_000n;
const BUDGET = 900n;
/** Of a row, as BILLING_WAIT_MS: what must be taken is, however busy the machine; what cannot be is refused soon. */
const PATIENT_MS = 20_000;
const HASTY_MS = 1_500;

describe('the hold of a stream that outgrows it', () => {
  let stage: SweepStage;
  let money: MoneyProcess;
  let hasty: MoneyProcess;
  let limits: CallerLimits;
  let budget: string;

  beforeAll(async () => {
    stage = await openSweepStage();
    money = await stage.start({ billingWaitMs: PATIENT_MS });
    hasty = await stage.start({ billingWaitMs: HASTY_MS });
  });

  afterAll(() => stage.close());

  beforeEach(async () => {
    const apiKeyId = newId();
    budget = `key:${apiKeyId}:budget`;
    limits = await createTenant(money, nanoUsd(INITIAL), {
      dailyQuota: 10,
      key: { apiKeyId, budget: nanoUsd(BUDGET), usd5h: null, usd1d: null, usd7d: nanoUsd(BUDGET) },
    });
  });

  afterEach(async () => {
    jest.restoreAllMocks();
    await expectInvariants(money);
  });

  async function openStream(process = money): Promise<OpenCharge> {
    const charge = await openCharge(process, limits, 300n);
    expect(await charge.durable()).toBeUndefined();
    return charge;
  }

  /** What is held of the tenant's money, in Redis and in the row, and what the key's budget counts. */
  async function held({ held: hold }: OpenCharge): Promise<object> {
    for (const process of [money, hasty]) await process.module.get(ProjectionQueue).drain(15_000);
    const { rows } = await money.pool.query<object>(
      `select status, hold_nano_usd::int as hold, extended_nano_usd::int as extended from billing_transaction where id = $1`,
      [hold.holdId],
    );
    const { client } = money.redis;
    const entry = await client.hget(holdsKey(limits.tenantId), hold.holdId);
    return {
      ...rows[0],
      entry: entry === null ? 'none' : Number(entry.split('|')[0]),
      held: Number(await client.hget(quotaKey(limits.tenantId), 'held')),
      budget: Number(await usedIn(client, limits.tenantId, budget)),
    };
  }

  const raisedTo = (hold: number, from = 300): object => ({
    ...{ status: 'PENDING', hold, extended: hold - from, entry: hold, held: hold, budget: hold },
  });
  const endedAs = (status: string, hold: number, cost: number): object => ({
    ...{ status, hold, extended: hold - 300, entry: 'none', held: 0, budget: cost },
  });

  it('is raised in every scope and in its row before the answer, and given back when the charge ends', async () => {
    const charge = await openStream();
    expect(await charge.extend(nanoUsd(500n))).toBeUndefined();
    expect(await held(charge)).toEqual(raisedTo(500));
    expect(charge.held.amount).toBe(500n);
    expect(await reserve(money, limits, 501n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    await expectInvariants(money);
    expect(await charge.settle(outputOf(450))).toMatchObject({ amount: 450n });
    expect(await held(charge)).toEqual(endedAs('COMMITTED', 500, 450));
  });

  it('is given back whole where the charge is voided', async () => {
    const charge = await openStream();
    await charge.extend(nanoUsd(500n));
    await charge.void({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' });
    expect(await held(charge)).toEqual(endedAs('VOIDED', 500, 0));
  });

  it('is refused by the scope that has no room, and stays as it was', async () => {
    const charge = await openStream();
    expect(await charge.extend(nanoUsd(901n))).toMatchObject({
      code: 'QUOTA_BUDGET_EXCEEDED',
      quota: { scope: 'key_budget', limit: BUDGET },
    });
    expect(await charge.extend(nanoUsd(1_001n))).toMatchObject({ code: 'QUOTA_BALANCE_EXCEEDED' });
    expect(await held(charge)).toEqual(raisedTo(300));
    await charge.settle(outputOf(1));
  });

  it('has the amount already, or more: nobody is asked', async () => {
    const charge = await openStream();
    await charge.extend(nanoUsd(400n));
    const asked = jest.spyOn(money.store, 'extend');
    expect(await charge.extend(nanoUsd(400n))).toBeUndefined();
    expect(await charge.extend(nanoUsd(350n))).toBeUndefined();
    expect(asked).not.toHaveBeenCalled();
    await charge.settle(outputOf(1));
  });

  it('is raised one after another where it is asked for many times at once', async () => {
    const charge = await openStream();
    const amounts = [500n, 400n, 700n, 700n, 600n];
    expect(await Promise.all(amounts.map((amount) => charge.extend(nanoUsd(amount))))).toEqual(
      amounts.map(() => undefined),
    );
    expect(await held(charge)).toEqual(raisedTo(700));
    await charge.settle(outputOf(1));
  });

  it('waits for its row', async () => {
    const charges = await Promise.all([1, 2, 3].map(() => openCharge(money, limits, 100n)));
    expect(await Promise.all(charges.map((charge) => charge.extend(nanoUsd(200n))))).toEqual(
      charges.map(() => undefined),
    );
    for (const charge of charges) expect(await held(charge)).toMatchObject({ hold: 200, entry: 200, held: 600 });
    await Promise.all(charges.map((charge) => charge.settle(outputOf(200))));
    expect(await held(charges[0] ?? (await openStream()))).toMatchObject({ held: 0, budget: 600 });
  });

  it('is found in the rebuilt projection and raised there where its epoch is over', async () => {
    const charge = await openStream();
    const { epoch } = charge.held;
    await money.redis.client.flushall();
    expect(await charge.extend(nanoUsd(500n))).toBeUndefined();
    expect(charge.held.epoch).toBeGreaterThan(epoch);
    expect(await held(charge)).toEqual(raisedTo(500));
    // And once more: an epoch for each extension.
    await money.redis.client.flushall();
    expect(await charge.extend(nanoUsd(600n))).toBeUndefined();
    expect(await held(charge)).toEqual(raisedTo(600));
    await charge.settle(outputOf(600));
    expect(await held(charge)).toEqual(endedAs('COMMITTED', 600, 600));
  });

  it('is raised again where its epoch ends between quota and row: the row never holds what quota does not', async () => {
    const charge = await openStream();
    const writer = money.module.get(ChargeWriter);
    const epochs = money.module.get(EpochAuthority);
    const extend = writer.extend.bind(writer);
    jest.spyOn(writer, 'extend').mockImplementationOnce(async (row) => {
      await epochs.raiseBeyond(epochs.current, 'test');
      return extend(row);
    });
    expect(await charge.extend(nanoUsd(500n))).toBeUndefined();
    expect(await held(charge)).toEqual(raisedTo(500));
    await charge.settle(outputOf(1));
  });

  it('is refused where its epoch is over and the money is gone by then', async () => {
    const charge = await openStream();
    await money.redis.client.flushall();
    await adjust(money, limits.tenantId, nanoUsd(-600n));
    expect(await charge.extend(nanoUsd(500n))).toMatchObject({ code: 'QUOTA_BALANCE_EXCEEDED' });
    expect(await held(charge)).toEqual(raisedTo(300));
    await charge.settle(outputOf(1));
  });

  it('is refused where Postgres does not take it in time, and quota keeps what it has until the charge ends', async () => {
    const charge = await openStream(hasty);
    const locker = new Client({ connectionString: stage.database.url });
    await locker.connect();
    await locker.query('begin');
    await locker.query('select 1 from ledger_account where tenant_id = $1 for update', [limits.tenantId]);
    expect(await charge.extend(nanoUsd(500n))).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
    expect(await held(charge)).toEqual({ ...raisedTo(300), entry: 500, held: 500, budget: 500 });
    const settled = charge.settle(outputOf(350));
    await locker.query('rollback');
    await locker.end();
    expect(await settled).toMatchObject({ amount: 350n });
    expect(await held(charge)).toMatchObject({ status: 'COMMITTED', entry: 'none', held: 0, budget: 350 });
  });

  it('is raised late, too, and then an extension that asks for it again has it', async () => {
    const charge = await openStream(hasty);
    const locker = new Client({ connectionString: stage.database.url });
    await locker.connect();
    await locker.query('begin');
    await locker.query('select 1 from ledger_account where tenant_id = $1 for update', [limits.tenantId]);
    const refusals = await Promise.all([charge.extend(nanoUsd(500n)), charge.extend(nanoUsd(600n))]);
    expect(refusals).toMatchObject([{ code: 'BILLING_SERVICE_ERROR' }, { code: 'BILLING_SERVICE_ERROR' }]);
    await locker.query('rollback');
    await locker.end();
    await eventually('both are durable', () => (charge.held.amount === 600n ? true : undefined));
    expect(await held(charge)).toEqual(raisedTo(600));
    await charge.settle(outputOf(1));
  });

  it.each([
    ['raised', 'extend', false],
    ['looked for in another epoch', 'reserve', true],
  ] as const)(
    'has been %s before a charge that ends meanwhile is ended: nothing is left behind',
    async (_, ask, isLost) => {
      const charge = await openStream();
      if (isLost) await money.redis.client.flushall();
      const order: string[] = [];
      const isAsked = Promise.withResolvers<undefined>();
      const mayAnswer = Promise.withResolvers<undefined>();
      const answer = money.store[ask].bind(money.store) as (asked: object) => Promise<never>;
      jest.spyOn(money.store, ask).mockImplementationOnce(async (asked: object) => {
        isAsked.resolve(undefined);
        await mayAnswer.promise;
        return answer(asked).finally(() => order.push('moved'));
      });
      const extension = charge.extend(nanoUsd(500n));
      await isAsked.promise;
      const settled = charge.settle(outputOf(120)).finally(() => order.push('settled'));
      // Long enough for a settle that does not wait.
      await money.pool.query('select pg_sleep(0.1)');
      mayAnswer.resolve(undefined);
      await Promise.all([extension, settled]);
      expect(order).toEqual(['moved', 'settled']);
      expect(await held(charge)).toMatchObject({ status: 'COMMITTED', entry: 'none', held: 0, budget: 120 });
    },
  );

  it('leaves nothing behind where the charge settles while its row is being raised', async () => {
    const charge = await openStream();
    const writer = money.module.get(ChargeWriter);
    const extend = writer.extend.bind(writer);
    jest.spyOn(writer, 'extend').mockImplementationOnce(async (row) => {
      await charge.settle(outputOf(120));
      return extend(row);
    });
    expect(await charge.extend(nanoUsd(500n))).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
    expect(await held(charge)).toEqual(endedAs('COMMITTED', 300, 120));
  });

  it('is not raised once the charge is ending', async () => {
    const charge = await openStream();
    const settled = charge.settle(outputOf(120));
    expect(await charge.extend(nanoUsd(500n))).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
    await settled;
    expect(await held(charge)).toEqual(endedAs('COMMITTED', 300, 120));
  });

  it('is refused where Redis does not answer', async () => {
    const charge = await openStream();
    jest.spyOn(money.redis.client, 'evalsha').mockRejectedValue(new Error('Command timed out'));
    expect(await charge.extend(nanoUsd(500n))).toMatchObject({ code: 'QUOTA_SERVICE_ERROR' });
    jest.restoreAllMocks();
    await charge.settle(outputOf(120));
    expect(await held(charge)).toEqual(endedAs('COMMITTED', 300, 120));
  });

  describe('whose process was taken for dead', () => {
    let doomed: MoneyProcess;

    beforeEach(async () => {
      doomed = await stage.start({ billingWaitMs: HASTY_MS });
    });

    async function openDoomed(): Promise<OpenCharge> {
      const charge = await openCharge(doomed, limits, 300n);
      expect(await charge.durable()).toBeUndefined();
      return charge;
    }

    async function sweep(): Promise<void> {
      await money.pool.query(`update gateway_process set status = 'dead' where id = $1`, [idOf(doomed)]);
      await money.module.get(DeadCharges).sweep({
        processId: idOf(doomed),
        oldestOpenId: '00000000-0000-0000-0000-000000000000',
        patienceMs: 10_000,
        signal: new AbortController().signal,
      });
    }

    it('between quota and row gives back what quota has, not what the row says', async () => {
      const charge = await openDoomed();
      jest.spyOn(doomed.module.get(ChargeWriter), 'extend').mockReturnValue(new Promise<never>(() => undefined));
      expect(await charge.extend(nanoUsd(500n))).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
      expect(await held(charge)).toEqual({ ...raisedTo(300), entry: 500, held: 500, budget: 500 });
      await sweep();
      expect(await held(charge)).toEqual(endedAs('VOIDED', 300, 0));
    });

    it('is not raised after that, and no hold comes back', async () => {
      const charge = await openDoomed();
      await sweep();
      expect(await charge.extend(nanoUsd(500n))).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
      expect(await held(charge)).toEqual(endedAs('VOIDED', 300, 0));
    });

    it('while its hold is looked for in another epoch is not raised, and no hold comes back', async () => {
      const charge = await openDoomed();
      await money.redis.client.flushall();
      const again = doomed.store.reserve.bind(doomed.store);
      jest.spyOn(doomed.store, 'reserve').mockImplementationOnce(async (request) => {
        await sweep();
        return again(request);
      });
      expect(await charge.extend(nanoUsd(500n))).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
      await eventually('the hold is gone', async () =>
        (await money.redis.client.hlen(holdsKey(limits.tenantId))) === 0 ? true : undefined,
      );
      expect(await statusOfCharge(money, charge.held.holdId)).toBe('VOIDED');
      expect(await money.redis.client.hget(quotaKey(limits.tenantId), 'held')).toBe('0');
    });
  });
});

describe('the hold of a stream that outgrows it, while Postgres decides', () => {
  let stage: SweepStage;
  let money: MoneyProcess;
  let limits: CallerLimits;

  beforeAll(async () => {
    stage = await openSweepStage();
    money = await stage.start();
  });

  afterAll(() => stage.close());

  beforeEach(async () => {
    limits = await createTenant(money, nanoUsd(INITIAL));
  });

  async function rowOf({ held }: OpenCharge): Promise<object | undefined> {
    const { rows } = await money.pool.query<object>(
      `select status, hold_nano_usd::int as hold, extended_nano_usd::int as extended from billing_transaction where id = $1`,
      [held.holdId],
    );
    return rows[0];
  }

  it('follows who decides: admitted by Redis it is raised by Postgres, once, and its row is not written twice', async () => {
    const charge = await openCharge(money, limits, 300n);
    await charge.durable();
    await money.module.get(EpochAuthority).switchToPostgres('test');
    expect(await charge.extend(nanoUsd(500n))).toBeUndefined();
    expect(await rowOf(charge)).toEqual({ status: 'PENDING', hold: 500, extended: 200 });
    expect(await charge.extend(nanoUsd(1_001n))).toMatchObject({ code: 'QUOTA_BALANCE_EXCEEDED' });
    await charge.settle(outputOf(450));
    expect(await rowOf(charge)).toEqual({ status: 'COMMITTED', hold: 500, extended: 200 });
    await expectInvariants(money);
  });

  it('is raised with its row, and nothing is written beside', async () => {
    const charge = await openCharge(money, limits, 300n);
    const written = jest.spyOn(money.module.get(ChargeWriter), 'extend');
    expect(await charge.extend(nanoUsd(500n))).toBeUndefined();
    expect(written).not.toHaveBeenCalled();
    expect(await rowOf(charge)).toEqual({ status: 'PENDING', hold: 500, extended: 200 });
    expect(await reserve(money, limits, 501n)).toMatchObject({ refusal: { code: 'QUOTA_BALANCE_EXCEEDED' } });
    await charge.void({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' });
    expect(await reserve(money, limits, 1_000n)).toMatchObject({ admitted: true });
    await expectInvariants(money);
  });
});
