import { IdempotencyStore } from '../../src/billing/idempotency/idempotency.store';
import { CLOCK } from '../../src/kernel/clock';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import { IdempotencyExpiry } from '../../src/sync/idempotency-expiry';
import { eventually } from '../support/eventually';
import { createTenant } from '../support/money-harness';
import { HEIRS_COST, INITIAL, KeyStage, OWNERS_COST } from './idempotency-stage';

const DAY_MS = 86_400_000;

describe('idempotency keys of a process that lives', () => {
  let keys: KeyStage;

  beforeAll(async () => {
    keys = await KeyStage.open();
  });

  beforeEach(() => keys.renew());

  afterEach(() => {
    jest.restoreAllMocks();
  });

  afterAll(() => keys.close());

  it('are taken until the answer is told, then say it again, with what only the settle has made known', async () => {
    const call = await keys.admitted(keys.heir());
    expect(await keys.kindOf(keys.heir())).toBe('IDEMPOTENCY_KEY_IN_USE');
    await call.keep();
    expect(await keys.kindOf(keys.heir())).toBe('IDEMPOTENCY_KEY_IN_USE');
    expect(await keys.settleTold(call)).toBe('charged');
    expect(await keys.kindOf(keys.heir())).toBe('IDEMPOTENCY_KEY_IN_USE');
    expect(await call.answered()).toBe(true);
    const outcome = await keys.heir().claim();
    expect(outcome).toMatchObject({
      kind: 'replay',
      replay: { traceId: call.traceId, amount: BigInt(OWNERS_COST), answer: { headers: { 'x-cost': 'told' } } },
    });
    expect(await keys.replayed(keys.heir())).toBe(`${call.answerText}!`);
    expect(await keys.kindOf(keys.heir({ body: '{ }' }))).toBe('IDEMPOTENCY_KEY_REUSED');
    expect(await keys.paid()).toEqual({ charges: [OWNERS_COST], wallet: OWNERS_COST });
  });

  it('stay taken while an answer that left before its settle is not charged yet', async () => {
    const call = await keys.admitted(keys.heir());
    await call.keep();
    await call.answered(false);
    expect(await keys.kindOf(keys.heir())).toBe('IDEMPOTENCY_KEY_IN_USE');
    expect(await keys.settleTold(call)).toBe('charged');
    expect(await keys.replayed(keys.heir())).toBe(call.answerText);
  });

  it('are free once nothing can be charged any more, and not before', async () => {
    const call = await keys.admitted(keys.heir());
    const freeing = call.free();
    expect(await keys.kindOf(keys.heir())).toBe('IDEMPOTENCY_KEY_IN_USE');
    await call.held.void({ reasonCode: 'UPSTREAM_ERROR', endReason: 'failed' });
    await freeing;
    await keys.heirIsCharged();
    expect(await keys.paid()).toEqual({ charges: [HEIRS_COST], wallet: HEIRS_COST });
  });

  it('are free where the charge was voided, whatever else was written of the call', async () => {
    const call = await keys.admitted(keys.heir());
    await call.keep();
    await call.held.void({ reasonCode: 'REFUSED_ROW', endReason: 'refused' });
    await call.answered();
    await keys.heirIsCharged();
  });

  it('name the receipt of an answer that was not kept, too large or not in time, and are never charged twice', async () => {
    const large = { status: 200, headers: {}, body: Buffer.alloc(1024 * 1024), ending: Buffer.from('x') };
    for (const [key, answer] of [
      ['large', large],
      ['late', undefined],
    ] as const) {
      const call = await keys.admitted(keys.heir({ key }));
      if (answer) await call.keep(answer);
      expect(await keys.settleTold(call)).toBe('charged');
      await call.answered();
      for (let repeat = 0; repeat < 2; repeat += 1) {
        expect(await keys.heir({ key }).claim()).toMatchObject({
          refusal: { code: 'IDEMPOTENCY_ANSWER_NOT_KEPT', values: { trace_id: call.traceId } },
        });
      }
    }
    expect((await keys.paid()).charges).toEqual([OWNERS_COST, OWNERS_COST]);
  });

  it('keep an answer of exactly 1 MB', async () => {
    const call = await keys.admitted(keys.heir());
    await call.keep({ status: 200, headers: {}, body: Buffer.alloc(1024 * 1024 - 1, 'y'), ending: Buffer.from('z') });
    await call.settle(OWNERS_COST);
    await call.answered(false);
    const text = await keys.replayed(keys.heir());
    expect([text.length, text.at(-1)]).toEqual([1024 * 1024, 'z']);
  });

  it('are replayed after a goodwill refund, and taken over after one because the call was not answered', async () => {
    for (const [key, reasonCode] of [
      ['goodwill', 'GOODWILL'],
      ['unanswered', 'UNANSWERED'],
    ] as const) {
      const call = await keys.admitted(keys.heir({ key }));
      await call.finish(OWNERS_COST);
      const chargeId = call.held.held.holdId;
      await keys.living.ledger.refund({ tenantId: keys.limits.tenantId, chargeId, reasonCode, description: 'test' });
      expect(await keys.kindOf(keys.heir({ key }))).toBe(key === 'goodwill' ? 'replay' : 'claimed');
    }
  });

  it('belong to their API key and tenant alone, and what was sealed for one opens in no other row', async () => {
    const call = await keys.admitted(keys.heir());
    await call.finish(OWNERS_COST);
    const apiKeyId = newId();
    const other = { limits: await createTenant(keys.living, nanoUsd(INITIAL)), apiKeyId };
    await keys.claimed(keys.heir(other));
    await keys.living.pool.query(
      `update idempotency_key o set state = k.state, sealed_answer = k.sealed_answer, sealed_tail = k.sealed_tail,
              trace_id = k.trace_id, tenant_id = k.tenant_id
         from idempotency_key k where k.api_key_id = $1 and o.api_key_id = $2`,
      [keys.request.apiKeyId, apiKeyId],
    );
    expect(await keys.kindOf(keys.heir({ apiKeyId }))).toBe('IDEMPOTENCY_ANSWER_NOT_KEPT');
    expect(await keys.kindOf(keys.heir())).toBe('replay');
  });

  it('are nobody’s a day after their first request, by the clock of the gateway, and are deleted then in batches', async () => {
    const time = keys.living.module.get<{ offsetMs: number }>(CLOCK);
    try {
      const call = await keys.admitted(keys.heir());
      await call.finish(OWNERS_COST);
      // Short of a day also for the keys of the tests before, however long those took.
      time.offsetMs = DAY_MS - 600_000;
      expect(await keys.kindOf(keys.heir())).toBe('replay');
      expect(await keys.living.module.get(IdempotencyExpiry).expire()).toBe(0);
      time.offsetMs = DAY_MS + 1;
      await keys.heirIsCharged();
      time.offsetMs = 2 * DAY_MS + 2;
      await keys.living.pool.query(
        `insert into idempotency_key (api_key_id, key_hash, tenant_id, request_hash, trace_id, process_id, expires_at)
         select gen_random_uuid(), sha256(n::text::bytea), gen_random_uuid(), sha256('x'), gen_random_uuid(),
                gen_random_uuid(), now() from generate_series(1, 1200) n`,
      );
      expect(await keys.living.module.get(IdempotencyExpiry).expire()).toBeGreaterThan(1_200);
      const { rows } = await keys.living.pool.query(`select 1 from idempotency_key`);
      expect(rows).toEqual([]);
    } finally {
      time.offsetMs = 0;
    }
  });

  it('are refused with 503 where Postgres does not answer, and are free afterwards', async () => {
    const failing = jest.spyOn(keys.living.module.get(IdempotencyStore), 'claim').mockRejectedValue(new Error('away'));
    expect(await keys.kindOf(keys.heir())).toBe('BILLING_SERVICE_ERROR');
    failing.mockRestore();
    await keys.heirIsCharged();
  });

  it('are claimed, kept and answered once where each commit is heard of only by asking again', async () => {
    const store = keys.living.module.get(IdempotencyStore);
    for (const name of ['claim', 'keep', 'answered'] as const) loseFirstReply(store, name);
    const call = await keys.admitted(keys.heir());
    await call.keep();
    expect(await keys.settleTold(call)).toBe('charged');
    expect(await call.answered()).toBe(true);
    expect(await keys.replayed(keys.heir())).toBe(`${call.answerText}!`);
  });

  it('of a claim that was answered too late are free again', async () => {
    const store = keys.living.module.get(IdempotencyStore);
    const { promise: gate, resolve: open } = Promise.withResolvers<undefined>();
    const claim = store.claim.bind(store);
    const late = jest.spyOn(store, 'claim').mockImplementationOnce(async (...args) => {
      const found = await claim(...args);
      await gate;
      return found;
    });
    expect(await keys.kindOf(keys.heir())).toBe('BILLING_SERVICE_ERROR');
    late.mockRestore();
    expect(await keys.kindOf(keys.heir())).toBe('IDEMPOTENCY_KEY_IN_USE');
    open(undefined);
    await eventually('the key is free', async () =>
      (await keys.kindOf(keys.heir())) === 'claimed' ? true : undefined,
    );
  });
});

/** What is asked for is done, and then the connection breaks. */
function loseFirstReply(store: IdempotencyStore, name: 'claim' | 'keep' | 'answered'): void {
  const work = store[name].bind(store) as (...args: unknown[]) => Promise<never>;
  jest.spyOn(store, name).mockImplementationOnce(async (...args: unknown[]) => {
    await work(...args);
    throw new Error('Connection terminated unexpectedly');
  });
}
