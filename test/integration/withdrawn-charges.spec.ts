import { Pool } from 'pg';
import { Invariants } from '../../src/billing/invariants/invariants.service';
import { ChargeWriter } from '../../src/billing/writer/charge-writer';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { holdsKey } from '../../src/quota/quota-keys';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { eventually } from '../support/eventually';
import {
  createTenant,
  holdRequest,
  type MoneyProcess,
  openCharge,
  outputOf,
  startMoneyProcess,
} from '../support/money-harness';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { startTestRedis, type TestRedis } from '../support/test-redis';

const INITIAL = 1_000n;

/** What a call does whose settle takes longer than it may wait: Postgres is behind a wire that fails. */
describe('a charge whose caller cannot wait longer', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let wire: TcpProxy;
  let money: MoneyProcess;
  let limits: CallerLimits;
  /** Reaches Postgres over a whole wire. */
  let onlooker: Pool;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startTestRedis()]);
    wire = await startTcpProxy(database.url);
    onlooker = new Pool({ connectionString: database.url, max: 1 });
    money = await startMoneyProcess({ databaseUrl: wire.url, redisUrl: redis.url });
  });

  afterAll(async () => {
    await money.close();
    await Promise.all([redis.stop(), wire.close(), onlooker.end()]);
    await database.drop();
  });

  beforeEach(async () => {
    limits = await createTenant(money, nanoUsd(INITIAL));
  });

  /** Connections that were broken are torn, so that what waits on them is tried again. */
  function mend(): void {
    wire.setMode('pass');
    wire.reset();
  }

  async function isCommitted(): Promise<true | undefined> {
    const { rowCount } = await onlooker.query(
      `select from billing_transaction where tenant_id = $1 and type = 'charge' and status = 'COMMITTED'`,
      [limits.tenantId],
    );
    return rowCount === 1 ? true : undefined;
  }

  async function rows(): Promise<readonly object[]> {
    const found = await money.pool.query<object>(
      `select type, status, amount_nano_usd as amount, refunded_nano_usd as refunded, reason_code from billing_transaction
        where tenant_id = $1 and reason_code is distinct from 'TEST' order by created_at, type`,
      [limits.tenantId],
    );
    return found.rows;
  }

  /** What the upstream's answer cost: in the row that charges it, else the house's. */
  async function costs(): Promise<object> {
    const found = await money.pool.query<{ in_rows: string; of_house: string[] | null }>(
      `select sum(b.upstream_cost_nano_usd) as in_rows,
              array_agg(t.reason_code || ' ' || t.amount_nano_usd) filter (where t.kind is not null) as of_house
         from billing_transaction b
         left join ledger_transfer t on t.transaction_id = b.id and t.kind = 'upstream_cost'
        where b.tenant_id = $1`,
      [limits.tenantId],
    );
    const [row] = found.rows;
    return { inRows: row?.in_rows, ofHouse: row?.of_house ?? [] };
  }

  async function expectBalance(posted: bigint): Promise<void> {
    const { rows: accounts } = await money.pool.query<{ posted_nano_usd: string }>(
      `select posted_nano_usd from ledger_account where tenant_id = $1 and name = 'wallet'`,
      [limits.tenantId],
    );
    expect(accounts).toEqual([{ posted_nano_usd: posted.toString() }]);
    const isFree = async (): Promise<true | undefined> =>
      (await money.redis.client.hlen(holdsKey(limits.tenantId))) === 0 ? true : undefined;
    await eventually('the hold has ended', isFree);
    const proof = await money.module.get(Invariants).check();
    expect(proof.filter(({ violations }) => violations > 0)).toEqual([]);
  }

  it('is voided where no row of it stands, and its caller is told not to answer', async () => {
    const charge = await openCharge(money, limits, 300n, false);
    wire.setMode('silence');
    const settled = charge.settle(outputOf(120));
    expect(charge.withdraw()).toBe(true);
    mend();
    expect(await settled).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
    expect(await rows()).toEqual([
      { type: 'charge', status: 'VOIDED', amount: '0', refunded: '0', reason_code: 'BILLING_SERVICE_ERROR' },
    ]);
    expect(await costs()).toEqual({ inRows: '0', ofHouse: ['UNCHARGED_ANSWER 3'] });
    await expectBalance(INITIAL);
  });

  it('is given back where Postgres had committed it and only the answer was lost', async () => {
    const charge = await openCharge(money, limits, 300n, false);
    wire.setMode('lose_replies');
    const settled = charge.settle(outputOf(120));
    await eventually('the charge is committed', isCommitted);
    expect(charge.withdraw()).toBe(true);
    mend();
    expect(await settled).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
    expect(await rows()).toEqual([
      { type: 'charge', status: 'COMMITTED', amount: '120', refunded: '120', reason_code: null },
      { type: 'refund', status: 'COMMITTED', amount: '120', refunded: '0', reason_code: 'UNANSWERED' },
    ]);
    expect(await costs()).toEqual({ inRows: '3', ofHouse: [] });
    await expectBalance(INITIAL);
  });

  it('counts in Redis what it counts in the ledger where the answer of Postgres comes late', async () => {
    const key = { apiKeyId: newId(), budget: nanoUsd(500n), usd5h: null, usd1d: null, usd7d: null };
    limits = await createTenant(money, nanoUsd(INITIAL), { tpm: 10_000, key });
    const charge = await openCharge(money, limits, 300n, false);
    wire.setMode('late_replies');
    const settled = charge.settle(outputOf(120));
    await eventually('the charge is committed', isCommitted);
    expect(charge.withdraw()).toBe(true);
    wire.setMode('pass');
    expect(await settled).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
    expect(await rows()).toEqual([
      { type: 'charge', status: 'COMMITTED', amount: '120', refunded: '120', reason_code: null },
      { type: 'refund', status: 'COMMITTED', amount: '120', refunded: '0', reason_code: 'UNANSWERED' },
    ]);
    await expectBalance(INITIAL);
    const quote = await money.store.quote(holdRequest(limits, 1n));
    const counted = quote.admitted ? quote.hold.counted.map(({ measure, used }) => [measure, used]) : [];
    expect(counted).toEqual([
      ['tokens', 121n],
      ['usd', 121n],
    ]);
  });

  it('is given back also where the refund fails at first', async () => {
    const charge = await openCharge(money, limits, 300n, false);
    const refund = jest.spyOn(money.ledger, 'refund').mockRejectedValueOnce(new Error('Connection terminated'));
    wire.setMode('lose_replies');
    const settled = charge.settle(outputOf(120));
    await eventually('the charge is committed', isCommitted);
    expect(charge.withdraw()).toBe(true);
    mend();
    expect(await settled).toMatchObject({ code: 'BILLING_SERVICE_ERROR' });
    expect(refund).toHaveBeenCalledTimes(2);
    refund.mockRestore();
    await expectBalance(INITIAL);
  });

  it('cannot be withdrawn any more once its late settle is being booked', async () => {
    const charge = await openCharge(money, limits, 300n, false);
    await onlooker.query(
      `insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, ended_at)
         values ($1, $2, $1, 'charge', 'VOIDED', 'external', now())`,
      [charge.held.holdId, limits.tenantId],
    );
    const writer = money.module.get(ChargeWriter);
    const write = writer.write.bind(writer);
    const withdrawn: boolean[] = [];
    jest.spyOn(writer, 'write').mockImplementationOnce((row) => {
      withdrawn.push(charge.withdraw());
      return write(row);
    });
    expect(await charge.settle(outputOf(120))).toMatchObject({ amount: 120n });
    expect(withdrawn).toEqual([false]);
    await expectBalance(INITIAL - 120n);
  });

  it('is known to be open until it has ended, also while it moves into another epoch', async () => {
    const charge = await openCharge(money, limits, 300n, false);
    const epochs = money.module.get(EpochAuthority);
    await epochs.raiseBeyond(epochs.current, 'test');
    const open: (string | undefined)[] = [];
    const reserve = money.store.reserve.bind(money.store);
    jest.spyOn(money.store, 'reserve').mockImplementationOnce((request) => {
      open.push(money.charges.oldestOpenTraceId());
      return reserve(request);
    });
    expect(await charge.settle(outputOf(120))).toMatchObject({ amount: 120n });
    expect(open).toEqual([charge.frozen.pending.trace_id]);
    expect(money.charges.oldestOpenTraceId()).toBeUndefined();
    await expectBalance(INITIAL - 120n);
  });

  it('is settled later where its row stands: its caller answers', async () => {
    const charge = await openCharge(money, limits, 300n);
    expect(await charge.durable()).toBeUndefined();
    wire.setMode('silence');
    const settled = charge.settle(outputOf(120));
    await Promise.resolve();
    expect(charge.withdraw()).toBe(false);
    mend();
    expect(await settled).toMatchObject({ amount: 120n });
    await expectBalance(INITIAL - 120n);
  });

  it('stays settled where the settle was faster', async () => {
    const charge = await openCharge(money, limits, 300n, false);
    expect(await charge.settle(outputOf(5))).toMatchObject({ amount: 5n });
    expect(charge.withdraw()).toBe(false);
    await expectBalance(INITIAL - 5n);
  });
});
