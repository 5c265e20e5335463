import { Client } from 'pg';
import { Booking, lockAccounts, recordPosting } from '../../src/billing/ledger/booking';
import { giveBack, lockCharge } from '../../src/billing/ledger/giving-back';
import { HOUSE_ACCOUNT } from '../../src/billing/ledger/house-accounts';
import { OWN_REASON_CODE } from '../../src/billing/ledger/reason-codes';
import { RATED_NANO_USD } from '../../src/billing/re-rating/rated';
import { Checkpoints } from '../../src/billing/settlement/checkpoints';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import type { OpenCharge } from '../../src/billing/settlement/open-charge';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import { withTransaction } from '../../src/platform/database/with-transaction';
import { holdsKey, quotaKey } from '../../src/quota/quota-keys';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import {
  createTenant,
  deliveredOf,
  INPUT_TOKENS_ESTIMATE,
  type MoneyProcess,
  openCharge,
  outputOf,
  reserve,
} from '../support/money-harness';
import { eventually } from '../support/eventually';
import { usedIn } from '../support/projection';
import {
  DEAD_AFTER_MS,
  expectInvariants,
  idOf,
  ManualClock,
  openSweepStage,
  sweeperOf,
  type SweepStage,
} from './hold-sweeper-stage';

const INITIAL = 1_000n;
/** As a re-rating books it. */
const RE_RATED = { reasonCode: OWN_REASON_CODE.reRated, description: 'test' };

describe('the sweeper, of a dead process that streamed', () => {
  let stage: SweepStage;
  let dead: MoneyProcess;
  let living: MoneyProcess;
  let limits: CallerLimits;
  const keyId = newId();
  const budget = `key:${keyId}:budget`;
  const clock = new ManualClock();

  beforeEach(async () => {
    stage = await openSweepStage();
    dead = await stage.start();
    living = await stage.start();
    limits = await createTenant(dead, nanoUsd(INITIAL), {
      dailyQuota: 10,
      tpm: 1_000_000,
      key: { apiKeyId: keyId, budget: nanoUsd(100_000n), usd5h: null, usd1d: null, usd7d: null },
    });
  });

  afterEach(async () => {
    jest.restoreAllMocks();
    await stage.close();
  });

  async function sweep(by = living): Promise<void> {
    await by.pool.query(`update gateway_process set status = 'dead' where id = $1`, [idOf(dead)]);
    clock.pass(DEAD_AFTER_MS);
    await sweeperOf(by, clock).sweep();
  }

  /** One whose checkpoint says that it has delivered so many tokens. */
  async function checkpointed(tokens: number): Promise<OpenCharge> {
    const charge = await openCharge(dead, limits, 300n);
    await charge.durable();
    charge.checkpointFrom(() => deliveredOf(tokens));
    await dead.module.get(Checkpoints).write();
    return charge;
  }

  async function rows(): Promise<readonly FoundRow[]> {
    const { rows: found } = await living.pool.query<FoundRow>(
      `select type, status, amount_nano_usd::int as amount, refunded_nano_usd::int as refunded, tokens_output::int as output,
              tokens_input_uncached::int as input, counting_method as method, end_reason, reason_code
         from billing_transaction where tenant_id = $1 and type <> 'adjustment' order by ended_at, type`,
      [limits.tenantId],
    );
    return found;
  }

  async function balance(): Promise<string | undefined> {
    const { rows: accounts } = await living.pool.query<{ posted_nano_usd: string }>(
      `select posted_nano_usd from ledger_account where tenant_id = $1 and name = 'wallet'`,
      [limits.tenantId],
    );
    return accounts[0]?.posted_nano_usd;
  }

  /** What the projection has of the tenant, when everybody has told it. */
  async function projected(): Promise<object> {
    await Promise.all([dead, living].map((process) => process.module.get(ProjectionQueue).drain(15_000)));
    const { client } = living.redis;
    const [held, posted] = await client.hmget(quotaKey(limits.tenantId), 'held', 'posted');
    return {
      held,
      posted,
      holds: await client.hlen(holdsKey(limits.tenantId)),
      requests: await usedIn(client, limits.tenantId, 'day'),
      budget: await usedIn(client, limits.tenantId, budget),
      tokens: await client.hget(`tg:{${limits.tenantId}}:rate:tpm`, 'sum'),
    };
  }

  it('charges what its last checkpoint says by the frozen prices, once, and tells the projection cost and tokens', async () => {
    await checkpointed(120);
    await sweep();
    await sweep();
    expect(await rows()).toEqual([
      {
        ...{
          type: 'charge',
          status: 'COMMITTED',
          amount: 120,
          refunded: 0,
          output: 120,
          input: 0,
          method: 'estimated',
        },
        ...{ end_reason: 'process_dead', reason_code: 'PROCESS_DEAD' },
      },
    ]);
    expect(await balance()).toBe('880');
    expect(await projected()).toEqual({
      ...{ held: '0', posted: '880', holds: 0, requests: '1', budget: '120', tokens: '120' },
    });
    await expectInvariants(living);
  });

  it('charges nothing of what has no checkpoint', async () => {
    await (await openCharge(dead, limits, 300n)).durable();
    await sweep();
    expect(await rows()).toMatchObject([{ status: 'VOIDED', amount: 0, end_reason: 'process_dead' }]);
    expect(await projected()).toMatchObject({ held: '0', holds: 0, requests: '0', budget: '0' });
    await expectInvariants(living);
  });

  it('charges its estimated input where that is the policy, and still nothing of a hold without a row', async () => {
    await Promise.all([openCharge(dead, limits, 300n), reserve(dead, limits, 200n)]);
    await checkpointed(120);
    await sweep(await stage.start({ deadChargePolicy: 'charge_input' }));
    expect((await rows()).toSorted(byAmount)).toEqual([
      expect.objectContaining({ status: 'VOIDED', amount: 0 }),
      {
        ...{ type: 'charge', status: 'COMMITTED', amount: INPUT_TOKENS_ESTIMATE, refunded: 0, output: 0 },
        ...{ input: INPUT_TOKENS_ESTIMATE, method: 'estimated' },
        ...{ end_reason: 'process_dead', reason_code: 'PROCESS_DEAD' },
      },
      expect.objectContaining({ status: 'COMMITTED', amount: 120, input: 0 }),
    ]);
    await expectInvariants(living);
  });

  it.each([
    ['that is none', `'{"tokens_output": 5}'`],
    ['of less than nothing', `checkpoint || '{"tokens_output": -5}'`],
  ])('takes a checkpoint %s for none', async (_, checkpoint) => {
    await checkpointed(120);
    await living.pool.query(`update billing_transaction set checkpoint = ${checkpoint} where status = 'PENDING'`);
    await sweep();
    expect(await rows()).toMatchObject([{ status: 'VOIDED', amount: 0 }]);
    await expectInvariants(living);
  });

  it('voids what Postgres will never take as charged, so that nothing stays open for ever', async () => {
    await checkpointed(1_000_000_000);
    await living.pool.query(
      `update billing_transaction set prices = prices || '{"output": "9000000000000000000"}' where status = 'PENDING'`,
    );
    await sweep();
    expect(await rows()).toMatchObject([{ status: 'VOIDED', amount: 0 }]);
    expect(await projected()).toMatchObject({ held: '0', holds: 0, requests: '0', budget: '0' });
    await expectInvariants(living);
  });

  it.each([
    ['more', 150],
    ['less', 90],
  ])('leaves it to the process, once it wakes up, to make it the whole cost: %s', async (_, tokens) => {
    const charge = await checkpointed(120);
    await sweep();
    expect(await charge.settle(outputOf(tokens))).toMatchObject({
      amount: BigInt(tokens),
      posted: INITIAL - BigInt(tokens),
    });
    expect(await rows()).toMatchObject([
      { type: 'charge', status: 'COMMITTED', amount: 120, refunded: 120 },
      { type: 'refund', amount: 120, reason_code: 'LATE_SETTLE' },
      { type: 'correction', amount: tokens, output: tokens, method: 'usage', end_reason: 'complete' },
    ]);
    expect(await balance()).toBe(String(INITIAL - BigInt(tokens)));
    // Windows keep what was admitted in them: neither the refund nor the correction is another request.
    expect(await projected()).toMatchObject({ posted: String(INITIAL - BigInt(tokens)), requests: '1', budget: '120' });
    await expectInvariants(living);
  });

  it('corrects nothing where the process comes to the same, or where it was refunded meanwhile', async () => {
    const [same, refunded] = [await checkpointed(120), await checkpointed(70)];
    await sweep();
    await same.settle(outputOf(120));
    await living.ledger.refund({
      tenantId: limits.tenantId,
      chargeId: refunded.held.holdId,
      reasonCode: 'GOODWILL',
      description: 'test',
    });
    await refunded.settle(outputOf(100));
    expect((await rows()).toSorted(byAmount)).toMatchObject([
      { type: 'charge', status: 'COMMITTED', amount: 70, refunded: 70 },
      { type: 'refund', status: 'COMMITTED', amount: 70, reason_code: 'GOODWILL' },
      { type: 'charge', status: 'COMMITTED', amount: 120, refunded: 0 },
    ]);
    expect(await balance()).toBe('880');
    await expectInvariants(living);
  });

  it.each([
    ['as much of the whole cost', 150, 30, '880'],
    ['the whole cost, where that is less', 20, 20, '1000'],
  ])('keeps given back what was refunded in part meanwhile: %s', async (_, tokens, carried, left) => {
    const charge = await checkpointed(120);
    await sweep();
    await living.ledger.refund({
      tenantId: limits.tenantId,
      chargeId: charge.held.holdId,
      reasonCode: 'GOODWILL',
      description: 'test',
      amount: nanoUsd(30n),
      idempotencyKey: 'goodwill',
    });
    await charge.settle(outputOf(tokens));
    expect((await rows()).toSorted(byAmount)).toMatchObject(
      [
        { type: 'charge', status: 'COMMITTED', amount: 120, refunded: 120 },
        { type: 'refund', amount: 90, reason_code: 'LATE_SETTLE' },
        { type: 'refund', amount: 30, reason_code: 'GOODWILL' },
        { type: 'correction', amount: tokens, refunded: carried },
        { type: 'refund', amount: carried, reason_code: 'LATE_SETTLE' },
      ].toSorted(byAmount),
    );
    expect(await balance()).toBe(left);
    await expectInvariants(living);
  });

  it('keeps what a re-rating gave back as such, so that the next one counts it', async () => {
    const charge = await checkpointed(120);
    await sweep();
    const id = charge.held.holdId;
    await withTransaction(living.pool, async (client) => {
      const accounts = await lockAccounts(client, limits.tenantId);
      const standing = await lockCharge(client, limits.tenantId, id);
      await giveBack(client, accounts, standing, { ...RE_RATED, type: 'credit_note', amount: 30n, traceId: newId() });
    });
    await charge.settle(outputOf(150));
    expect((await rows()).toSorted(byAmount)).toMatchObject(
      [
        { type: 'charge', amount: 120, refunded: 120 },
        { type: 'refund', amount: 90, reason_code: 'LATE_SETTLE' },
        { type: 'credit_note', amount: 30, reason_code: 'RE_RATED' },
        { type: 'correction', amount: 150, refunded: 30 },
        { type: 'credit_note', amount: 30, reason_code: 'RE_RATED' },
      ].toSorted(byAmount),
    );
    expect(await balance()).toBe('880');
    const { rows: rated } = await living.pool.query<{ rated: string }>(
      `select ${RATED_NANO_USD} as rated from billing_transaction c where c.tenant_id = $1 and c.type = 'correction'`,
      [limits.tenantId],
    );
    expect(rated).toEqual([{ rated: '120' }]);
    await expectInvariants(living);
  });

  it.each([
    ['a settle', 150, '850'],
    ['a settle of nothing', 0, '1000'],
  ])('returns what a re-rating had debited on top, with %s', async (_, tokens, left) => {
    const charge = await checkpointed(120);
    await sweep();
    const id = charge.held.holdId;
    await withTransaction(living.pool, async (client) => {
      const accounts = await lockAccounts(client, limits.tenantId);
      const record = { ...RE_RATED, transactionId: newId(), tenantId: limits.tenantId, traceId: newId() };
      await recordPosting(client, {
        ...record,
        type: 'adjustment',
        amountNanoUsd: '-40',
        originalTransactionId: id,
      });
      const book = new Booking(client, record.transactionId, record.reasonCode);
      await book.debit('adjustment', HOUSE_ACCOUNT.revenue, accounts, 40n);
    });
    expect(await balance()).toBe('840');
    await charge.settle(outputOf(tokens));
    expect(await balance()).toBe(left);
    await expectInvariants(living);
  });

  it('is corrected once where it is refunded at the same moment: before it, of it, or not any more', async () => {
    for (let round = 0; round < 4; round += 1) {
      const before = BigInt((await balance()) ?? 0);
      const charge = await checkpointed(12);
      await sweep();
      const goodwill = living.ledger.refund({
        tenantId: limits.tenantId,
        chargeId: charge.held.holdId,
        reasonCode: 'GOODWILL',
        description: 'test',
        amount: nanoUsd(3n),
        idempotencyKey: newId(),
      });
      const [refunded, settled] = await Promise.allSettled([goodwill, charge.settle(outputOf(15))]);
      expect(settled.status).toBe('fulfilled');
      expect(BigInt((await balance()) ?? 0)).toBe(before - 15n + (refunded.status === 'fulfilled' ? 3n : 0n));
    }
    await expectInvariants(living);
  });

  it('gives back what it charged where the process, once it wakes up, charges nothing', async () => {
    const charge = await checkpointed(120);
    await sweep();
    await charge.void({ reasonCode: 'BROKEN_STREAM', endReason: 'upstream_broke' });
    expect(await rows()).toMatchObject([
      { type: 'charge', status: 'COMMITTED', amount: 120, refunded: 120 },
      { type: 'refund', amount: 120, reason_code: 'LATE_SETTLE' },
    ]);
    expect(await balance()).toBe(String(INITIAL));
    await expectInvariants(living);
  });

  it('is corrected as a whole or not at all, and until it is', async () => {
    const charge = await checkpointed(120);
    await sweep();
    const owner = new Client({ connectionString: stage.database.url });
    await owner.connect();
    // The second half of each attempt fails, in a way that may pass.
    await owner.query(`
      create sequence attempts;
      create function refuse_correction() returns trigger language plpgsql security definer as
        $$ begin perform nextval('attempts'); raise exception 'not now' using errcode = '57014'; end $$;
      create trigger refuse_correction before insert on billing_transaction
        for each row when (new.type = 'correction') execute function refuse_correction()`);
    const settled = charge.settle(outputOf(150));
    await eventually('a second attempt was made', async () => {
      const { rows: made } = await owner.query<{ n: string }>('select last_value as n from attempts');
      return Number(made[0]?.n) > 1 ? true : undefined;
    });
    expect(await rows()).toMatchObject([{ type: 'charge', status: 'COMMITTED', amount: 120, refunded: 0 }]);
    await owner.query('drop trigger refuse_correction on billing_transaction');
    await owner.end();
    expect(await settled).toMatchObject({ amount: 150n });
    expect(await rows()).toMatchObject([
      { type: 'charge', status: 'COMMITTED', amount: 120, refunded: 120 },
      { type: 'refund', status: 'COMMITTED', amount: 120 },
      { type: 'correction', status: 'COMMITTED', amount: 150 },
    ]);
    expect(await balance()).toBe('850');
    await expectInvariants(living);
  });
});

interface FoundRow {
  readonly type: string;
  readonly status: string;
  readonly amount: number;
}

type Ordered = Pick<FoundRow, 'amount' | 'type'>;

function byAmount(a: Ordered, b: Ordered): number {
  return a.amount - b.amount || a.type.localeCompare(b.type);
}
