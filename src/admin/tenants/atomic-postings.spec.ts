import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { ProjectionQueue } from '../../billing/settlement/projection-queue';

/** Raises what it is told to where an audit row of a posting is written: after the posting, before the commit. */
const FAULTS = `
create sequence faults_raised;
create table fault (error_code text not null, times bigint not null);
grant select on fault to public;
grant usage on sequence faults_raised to public;
create function raise_fault() returns trigger language plpgsql as $$
declare
  v_fault fault;
begin
  select * into v_fault from fault;
  -- A sequence is not rolled back: it counts the attempts.
  if found and nextval('faults_raised') <= v_fault.times then
    raise exception 'injected' using errcode = v_fault.error_code;
  end if;
  return new;
end $$;
create trigger audit_log_fault before insert on audit_log
  for each row when (new.action = 'tenant.adjust') execute function raise_fault();
`;

/** Everything a posting writes. */
const WRITTEN = `
select (select count(*) from tenant) as tenants, (select count(*) from ledger_account) as accounts,
       (select coalesce(sum(posted_nano_usd), 0) from ledger_account) as posted,
       (select count(*) from billing_transaction) as transactions, (select count(*) from ledger_transfer) as transfers,
       (select count(*) from audit_log) as audited`;

describe('a posting and its record', () => {
  let plane: ControlPlane;
  let owner: Client;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    owner = new Client({ connectionString: plane.database.url });
    await owner.connect();
    await owner.query(FAULTS);
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await owner.query('delete from fault');
    await owner.query(`select setval('faults_raised', 1, false)`);
  });
  afterAll(async () => {
    await owner.end();
    await plane.stop();
  });

  const fail = (code: string, times: number): Promise<unknown> =>
    owner.query('insert into fault values ($1, $2)', [code, times]);
  const attempts = async (): Promise<number> => {
    const { rows } = await owner.query<{ attempts: string }>(
      `select case when is_called then last_value else 0 end as attempts from faults_raised`,
    );
    return Number(rows[0]?.attempts);
  };
  const written = (): Promise<unknown[]> => plane.query(WRITTEN);
  const projected = () => jest.spyOn(plane.app.get(ProjectionQueue), 'tell');
  const create = () => plane.admin('POST', 'tenants', { name: 'Acme', initial_balance_usd: '10' });
  const adjust = (id: string, fields: object = {}, key: string = randomUUID()) => {
    const body = { amount_usd: '2', reason_code: 'GOODWILL', description: 'a mistake of ours', ...fields };
    return plane.admin('POST', `tenants/${id}/adjustments`, body, { 'idempotency-key': key });
  };

  it('of a new tenant stand or fall with it: an error after the posting leaves nothing', async () => {
    const before = await written();
    const told = projected();
    await fail('XX000', 1);
    expect((await create()).status).toBe(500);
    expect(await attempts()).toBe(1);
    expect(await written()).toEqual(before);
    expect(told).not.toHaveBeenCalled();
  });

  it('of an adjustment stand or fall together, and the same Idempotency-Key then posts', async () => {
    const id = await plane.newTenant({ initial_balance_usd: '1' });
    const before = await written();
    const told = projected();
    const key = randomUUID();
    await fail('XX000', 1);
    expect((await adjust(id, {}, key)).status).toBe(500);
    expect(await written()).toEqual(before);
    expect(told).not.toHaveBeenCalled();
    const answer = await adjust(id, {}, key);
    expect([answer.status, answer.body.posted_usd, answer.body.version]).toEqual([201, '3.000000000', '2']);
  });

  it.each(['40001', '40P01', '55P03'])('are written once where Postgres takes them back with %s', async (code) => {
    await fail(code, 1);
    const created = await create();
    expect([created.status, await attempts()]).toEqual([201, 2]);
    const id = textOf(created.body, 'id');
    expect(created.body.balance).toMatchObject({ posted_usd: '10.000000000' });

    await owner.query(`select setval('faults_raised', 1, false)`);
    await owner.query('update fault set times = 2');
    const adjusted = await adjust(id);
    expect([adjusted.status, await attempts()]).toEqual([201, 3]);
    expect(adjusted.body).toMatchObject({ posted_usd: '12.000000000', version: '2' });
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=tenant&entity_id=${id}`);
    expect((log.data as { action: string }[]).map(({ action }) => action)).toEqual([
      'tenant.adjust',
      'tenant.adjust',
      'tenant.create',
    ]);
  });

  it('leave nothing where Postgres takes them back again and again', async () => {
    const before = await written();
    await fail('40001', 1_000);
    expect((await create()).status).toBe(503);
    expect(await attempts()).toBe(5);
    expect(await written()).toEqual(before);
  });

  it('are refused with the reason, and leave nothing', async () => {
    const id = await plane.newTenant({ initial_balance_usd: '1' });
    const key = randomUUID();
    await adjust(id, {}, key);
    const before = await written();
    const refusals = [
      {
        answer: await adjust(id, { amount_usd: '0.00' }),
        status: 400,
        param: 'amount_usd',
        reason: 'must not be zero',
      },
      {
        answer: await adjust(id, { amount_usd: '9000000' }),
        status: 400,
        param: 'amount_usd',
        reason: 'posted balance and credit limit together must stay within ±9,000,000 USD',
      },
      {
        answer: await adjust(id, { amount_usd: '3' }, key),
        status: 409,
        param: 'Idempotency-Key',
        reason: 'the key was used for another amount',
      },
    ];
    for (const { answer, status, param, reason } of refusals) {
      expect([answer.status, errorOf(answer).param]).toEqual([status, param]);
      expect(errorOf(answer).message).toContain(reason);
    }
    expect(await written()).toEqual(before);
  });
});
