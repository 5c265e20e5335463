import { Client } from 'pg';
import { ControlPlane, errorOf } from '../../../test/support/control-plane-harness';

describe('margins of the control plane', () => {
  let plane: ControlPlane;

  beforeAll(async () => {
    plane = await ControlPlane.start();
  });
  afterAll(() => plane.stop());

  it.each([
    ['group_by=tenant', 'group_by'],
    ['group_by=model&from=2026-01-01', 'from'],
    ['group_by=model&from=2026-W05-1T00:00:00Z', 'from'],
    ['group_by=model&to=2026-W05-1T00:00:00Z', 'to'],
    ['group_by=model&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z', 'from'],
    ['group_by=model&from=2026-01-01T00:00:00Z&to=2026-12-31T00:00:00Z', 'from'],
    ['group_by=model&tenant_id=acme', 'tenant_id'],
  ])('refuse %s and name the field', async (query, field) => {
    const answer = await plane.admin('GET', `margins?${query}`);
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
  });

  it('refuse a range whose first months were taken out of the ledger: the house’s costs are no longer known', async () => {
    const range = (from: string): string => `margins?group_by=model&from=${from}&to=2026-04-01T00:00:00Z`;
    await plane.expectAdmin(200, 'GET', range('2026-02-27T00:00:00Z'));
    const owner = new Client(plane.database.url);
    await owner.connect();
    await owner.query(
      `insert into ledger_opening_balance (month, account_id, posted_nano_usd, version)
         values ('2026-02-01', gen_random_uuid(), 0, 0)`,
    );
    await owner.end();
    const refused = await plane.admin('GET', range('2026-02-28T23:59:59Z'));
    expect([refused.status, errorOf(refused)]).toMatchObject([400, { param: 'from' }]);
    await plane.expectAdmin(200, 'GET', range('2026-03-01T00:00:00Z'));
  });
});
