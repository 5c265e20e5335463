import { Client } from 'pg';
import { committedCharge } from '../../../test/support/committed-charge';
import { ControlPlane } from '../../../test/support/control-plane-harness';
import { PRICE } from '../../../test/support/guard-harness';

/** What any other statement may take, and what is waited for its answer on top. */
const STATEMENT_MS = 1_000;
const SLACK_MS = 2_000;

describe('the invariants of a large ledger', () => {
  let plane: ControlPlane;

  beforeAll(async () => {
    plane = await ControlPlane.start({ databaseStatementMs: STATEMENT_MS });
  });
  afterAll(() => plane.stop());

  it('may take longer than any other statement', async () => {
    const tenantId = await plane.newTenant({ initial_balance_usd: '1' });
    await committedCharge(plane.app, tenantId, { price: PRICE, tokens: { output: 1 } });
    const owner = new Client({ connectionString: plane.database.url });
    await owner.connect();
    await owner.query(
      `create or replace function ledger_begins_at() returns timestamptz language plpgsql stable as
         $$ begin perform pg_sleep(${(STATEMENT_MS + SLACK_MS + 500) / 1_000}); return '-infinity'; end $$`,
    );
    await owner.end();
    const { data } = await plane.expectAdmin(200, 'GET', 'invariants');
    expect(data).toContainEqual(expect.objectContaining({ id: 'I3', verdict: 'holds' }));
  }, 60_000);
});
