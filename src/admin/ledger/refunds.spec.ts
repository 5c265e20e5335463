import { randomUUID } from 'node:crypto';
import { type Answer, ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { committedCharge } from '../../../test/support/committed-charge';
import { ProjectionQueue } from '../../billing/settlement/projection-queue';
import { newId } from '../../kernel/ids';

describe('refunds by an administrator', () => {
  let plane: ControlPlane;

  beforeAll(async () => {
    plane = await ControlPlane.start();
  });
  afterEach(() => jest.restoreAllMocks());
  afterAll(() => plane.stop());

  const charge = (tenantId: string, nanoUsd: number): Promise<string> =>
    committedCharge(plane.app, tenantId, { tokens: { output: nanoUsd } });

  function refund(id: string, fields: object = {}, key: string = randomUUID()): Promise<Answer> {
    const body = { reason_code: 'GOODWILL', ...fields };
    return plane.admin('POST', `transactions/${id}/refunds`, body, { 'idempotency-key': key });
  }

  async function expectProof(): Promise<void> {
    const { ok, data } = await plane.expectAdmin(200, 'GET', 'invariants');
    expect([ok, (data as { examples: string[] }[]).flatMap(({ examples }) => examples)]).toEqual([true, []]);
  }

  it('give back a part, then what is left, and are found by their charge', async () => {
    const tenantId = await plane.newTenant({ initial_balance_usd: '1' });
    const id = await charge(tenantId, 120);
    const told = jest.spyOn(plane.app.get(ProjectionQueue), 'tell');
    const part = await refund(id, { amount_usd: '0.00000005', description: 'slow answer' });
    expect([part.status, part.body]).toEqual([
      201,
      {
        id: expect.any(String) as unknown,
        object: 'refund',
        tenant_id: tenantId,
        original_transaction_id: id,
        amount_usd: '0.000000050',
        refunded_usd: '0.000000050',
        posted_usd: '0.999999930',
        version: '3',
      },
    ]);
    expect(told).toHaveBeenCalledWith(tenantId, expect.objectContaining({ posted: 999_999_930n, version: 3n }));
    const rest = await refund(id);
    expect(rest.body).toMatchObject({
      amount_usd: '0.000000070',
      refunded_usd: '0.000000120',
      posted_usd: '1.000000000',
    });
    const linked = await plane.expectAdmin(200, 'GET', `transactions?original_transaction_id=${id}`);
    expect(linked).toMatchObject({
      totals: { count: 2, amount_usd: '0.000000120' },
      data: [
        { id: rest.body.id, type: 'refund', original_transaction_id: id, reason_code: 'GOODWILL' },
        { id: part.body.id, type: 'refund', description: 'slow answer (by admin-token)' },
      ],
    });
    expect(await plane.expectAdmin(200, 'GET', `transactions/${id}`)).toMatchObject({
      status: 'COMMITTED',
      amount_usd: '0.000000120',
      refunded_usd: '0.000000120',
      reversed_by: rest.body.id,
      original_transaction_id: null,
    });
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=transaction&entity_id=${id}`);
    expect(log.data).toMatchObject([
      { action: 'transaction.refund', after: { id: rest.body.id, description: null } },
      { action: 'transaction.refund', after: { amount_usd: '0.000000050', description: 'slow answer' } },
    ]);
    await expectProof();
  });

  it('are posted once a key, however many at once send it, and the first answer is given again', async () => {
    const tenantId = await plane.newTenant({ initial_balance_usd: '1' });
    const id = await charge(tenantId, 120);
    const key = randomUUID();
    const answers = await Promise.all(Array.from({ length: 6 }, () => refund(id, { amount_usd: '0.00000003' }, key)));
    expect(new Set(answers.map(({ status, body }) => `${status} ${textOf(body, 'id')}`)).size).toBe(1);
    const whole = randomUUID();
    const [first, again] = [await refund(id, {}, whole), await refund(id, {}, whole)];
    expect([again.status, again.body.id, again.body.amount_usd]).toEqual([201, first.body.id, '0.000000090']);
    const { totals } = await plane.expectAdmin(200, 'GET', `transactions?original_transaction_id=${id}`);
    expect(totals).toMatchObject({ count: 2, amount_usd: '0.000000120' });
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=transaction&entity_id=${id}`);
    expect(log.data).toHaveLength(2);
    await expectProof();
  });

  it('never exceed the charge, however many at once ask for a part', async () => {
    const tenantId = await plane.newTenant({ initial_balance_usd: '1' });
    const id = await charge(tenantId, 100);
    const answers = await Promise.all(Array.from({ length: 8 }, () => refund(id, { amount_usd: '0.00000003' })));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, 201, 409, 409, 409, 409, 409]);
    const [refused] = answers.filter(({ status }) => status === 409);
    expect(refused && errorOf(refused)).toMatchObject({
      code: 'CONFLICT',
      param: 'amount_usd',
      message: expect.stringContaining('only 0.000000010 USD are left of the charge') as unknown,
    });
    await expectProof();
  });

  it('are refused with the reason, and leave nothing', async () => {
    const tenantId = await plane.newTenant({ initial_balance_usd: '1' });
    const [id, other, nothing] = [await charge(tenantId, 100), await charge(tenantId, 100), await charge(tenantId, 0)];
    const key = randomUUID();
    const { body: given } = await refund(id, { amount_usd: '0.00000001' }, key);
    const written = (): Promise<unknown[]> =>
      plane.query(`select (select count(*) from billing_transaction) as rows, (select count(*) from ledger_transfer) as
                   transfers, (select count(*) from audit_log) as audited`);
    const before = await written();
    const missing = await plane.admin('POST', `transactions/${id}/refunds`, { reason_code: 'GOODWILL' });
    const cases: readonly (readonly [Answer, number, string | null, RegExp])[] = [
      [missing, 400, 'Idempotency-Key', /must be sent/],
      [await refund(id, { amount_usd: '0.0' }), 400, 'amount_usd', /more than 0/],
      [await refund(id, { amount_usd: '-1' }), 400, 'amount_usd', /must not be negative/],
      [await refund(id, { amount_usd: 1 }), 400, 'amount_usd', /not a JSON number/],
      [await refund(id, { amount_usd: '1' }), 409, 'amount_usd', /only 0.000000090 USD are left/],
      [await refund(nothing), 409, 'amount_usd', /nothing is left/],
      [await refund(id, { reason_code: 'RE_RATED' }), 400, 'reason_code', /writes by itself/],
      [await refund(id, { reason_code: '' }), 400, 'reason_code', /a word of letters/],
      [await refund(id, { amount_usd: '0.00000002' }, key), 409, 'Idempotency-Key', /used for another refund/],
      [await refund(id, {}, key), 409, 'Idempotency-Key', /used for another refund/],
      [await refund(other, { amount_usd: '0.00000001' }, key), 409, 'Idempotency-Key', /used for another refund/],
      [await refund(textOf(given, 'id')), 404, null, /charge/],
      [await refund(newId()), 404, null, /charge/],
    ];
    for (const [answer, status, param, message] of cases) {
      expect([answer.status, errorOf(answer).param]).toEqual([status, param]);
      expect(errorOf(answer).message).toMatch(message);
    }
    expect(await written()).toEqual(before);
  });

  it('leave an adjustment that corrects a charge out: it is linked, and the charge keeps its amount', async () => {
    const tenantId = await plane.newTenant({ initial_balance_usd: '1' });
    const stranger = await charge(await plane.newTenant({ initial_balance_usd: '1' }), 5);
    const id = await charge(tenantId, 100);
    const adjust = (original: string, key: string): Promise<Answer> => {
      const body = {
        amount_usd: '0.1',
        reason_code: 'GOODWILL',
        description: 'late',
        original_transaction_id: original,
      };
      return plane.admin('POST', `tenants/${tenantId}/adjustments`, body, { 'idempotency-key': key });
    };
    const key = randomUUID();
    const { body } = await adjust(id, key);
    expect(await plane.expectAdmin(200, 'GET', `transactions/${textOf(body, 'id')}`)).toMatchObject({
      type: 'adjustment',
      original_transaction_id: id,
    });
    expect(await plane.expectAdmin(200, 'GET', `transactions/${id}`)).toMatchObject({ refunded_usd: '0.000000000' });
    for (const unknown of [stranger, newId(), textOf(body, 'id')]) {
      const refused = await adjust(unknown, randomUUID());
      expect([refused.status, errorOf(refused).param]).toEqual([400, 'original_transaction_id']);
    }
    const other = await adjust(await charge(tenantId, 1), key);
    expect([other.status, errorOf(other).param]).toEqual([409, 'Idempotency-Key']);
    await expectProof();
  });
});
