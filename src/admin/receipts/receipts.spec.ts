import { committedCharge } from '../../../test/support/committed-charge';
import { ControlPlane } from '../../../test/support/control-plane-harness';
import { PRICE } from '../../../test/support/guard-harness';
import { newId } from '../../kernel/ids';

describe('receipts of the control plane', () => {
  let plane: ControlPlane;

  beforeAll(async () => {
    plane = await ControlPlane.start();
  });
  afterAll(() => plane.stop());

  it('say who paid also where the clock of Postgres was set back before the settle', async () => {
    const tenantId = await plane.newTenant({ initial_balance_usd: '1' });
    const traceId = newId();
    const row = { trace_id: traceId };
    const id = await committedCharge(plane.app, tenantId, { price: PRICE, tokens: { output: 3 }, row });
    await plane.query(`update billing_transaction set created_at = created_at + interval '1 minute' where id = $1`, [
      id,
    ]);
    expect(await plane.expectAdmin(200, 'GET', `receipts/${traceId}`)).toMatchObject({
      cost_usd: '0.000006000',
      funding: [{ account: 'wallet', amount_usd: '0.000006000' }],
    });
  });
});
