import { setTimeout as pause } from 'node:timers/promises';
import { Checkpoints } from '../../src/billing/settlement/checkpoints';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { holdsKey } from '../../src/quota/quota-keys';
import { deliveredOf } from '../support/money-harness';
import { firstSeed, Seeded } from '../support/money-stage';
import { expectInvariants } from './hold-sweeper-stage';
import { HEIRS_COST, KeyStage, OWNERS_COST } from './idempotency-stage';

const FIRST_SEED = firstSeed();
const RACES = 25;

describe('idempotency keys of a process that is dead', () => {
  let keys: KeyStage;

  beforeAll(async () => {
    keys = await KeyStage.open();
  });

  beforeEach(() => keys.renew());

  afterEach(() => {
    jest.restoreAllMocks();
  });

  afterAll(() => keys.close());

  it('stay taken until the sweeper says so', async () => {
    await keys.admitted(keys.owner());
    expect(await keys.kindOf(keys.heir())).toBe('IDEMPOTENCY_KEY_IN_USE');
    await keys.declareDead();
    expect(await keys.kindOf(keys.heir())).toBe('claimed');
  });

  it('are free where it had reserved nothing, also for another body; should it wake up, it is not admitted', async () => {
    const call = await keys.claimed(keys.owner());
    await keys.declareDead();
    const other = await keys.claimed(keys.heir({ body: '{"other":1}' }));
    expect(await other.finish(HEIRS_COST)).toBe(true);
    expect(await call.finish(OWNERS_COST)).toBe(false);
    expect(await keys.paid()).toEqual({ charges: [HEIRS_COST], wallet: HEIRS_COST });
    await keys.sweep();
    await expectInvariants(keys.living);
  });

  it.each([
    ['and nothing is stored', false],
    ['and its answer is stored', true],
  ])(
    'are free where its charge is PENDING %s: that is voided, and a late settle books nothing',
    async (_, isStored) => {
      const call = await keys.admitted(keys.owner());
      if (isStored) await call.keep();
      await keys.declareDead();
      await keys.heirIsCharged();
      expect(await keys.settleTold(call)).toBe('BILLING_SERVICE_ERROR');
      expect(await keys.paid()).toEqual({ charges: [HEIRS_COST], wallet: HEIRS_COST });
      const [charge] = (await keys.booked()).filter(({ trace_id }) => trace_id === call.traceId);
      expect(charge).toMatchObject({ status: 'VOIDED', reason_code: 'KEY_TAKEN_OVER' });
      await keys.living.module.get(ProjectionQueue).drain(15_000);
      expect(await keys.living.redis.client.hlen(holdsKey(keys.limits.tenantId))).toBe(0);
      await keys.sweep();
      await expectInvariants(keys.living);
    },
  );

  it('are free where the sweeper voided its charge, and a late settle books no correction', async () => {
    const call = await keys.admitted(keys.owner());
    await keys.sweep();
    await keys.heirIsCharged();
    expect(await keys.settleTold(call)).toBe('BILLING_SERVICE_ERROR');
    expect(await keys.paid()).toEqual({ charges: [HEIRS_COST], wallet: HEIRS_COST });
    await expectInvariants(keys.living);
  });

  it('are free where the sweeper met a hold without a row, and a late settle books no correction', async () => {
    const call = await keys.claimed(keys.owner());
    await call.reserve(async () => {
      await keys.sweep();
      await keys.heirIsCharged();
    });
    expect(await keys.settleTold(call)).not.toBe('charged');
    expect(await keys.paid()).toEqual({ charges: [HEIRS_COST], wallet: HEIRS_COST });
    await expectInvariants(keys.living);
  });

  it.each([
    ['another amount', OWNERS_COST],
    ['the very amount', 40],
  ])(
    'are free where the sweeper charged its checkpoint: that is refunded, linked, and a late settle of %s books nothing',
    async (_, late) => {
      const call = await keys.admitted(keys.owner());
      call.held.checkpointFrom(() => deliveredOf(40));
      await keys.doomed.module.get(Checkpoints).write();
      await keys.sweep();
      expect(await keys.paid()).toEqual({ charges: [40], wallet: 40 });
      await keys.heirIsCharged();
      expect(await keys.paid()).toEqual({ charges: [HEIRS_COST], wallet: HEIRS_COST });
      const [refund] = (await keys.booked()).filter(({ type }) => type === 'refund');
      expect(refund).toMatchObject({ reason_code: 'KEY_TAKEN_OVER', original_transaction_id: call.held.held.holdId });
      expect(await keys.settleTold(call, late)).toBe('BILLING_SERVICE_ERROR');
      expect(await keys.paid()).toEqual({ charges: [HEIRS_COST], wallet: HEIRS_COST });
      await expectInvariants(keys.living);
    },
  );

  it('are free where it was charged and nothing was stored: that is refunded, linked', async () => {
    const call = await keys.admitted(keys.owner());
    expect(await keys.settleTold(call)).toBe('charged');
    await keys.declareDead();
    await keys.heirIsCharged();
    expect(await keys.paid()).toEqual({ charges: [HEIRS_COST], wallet: HEIRS_COST });
    await call.answered();
    expect(await keys.kindOf(keys.heir())).toBe('replay');
    await expectInvariants(keys.living);
  });

  it('say the answer again where it was stored and charged, without what nobody was told', async () => {
    const call = await keys.admitted(keys.owner());
    await call.keep();
    expect(await keys.settleTold(call)).toBe('charged');
    await keys.declareDead();
    expect(await keys.replayed(keys.heir())).toBe(call.answerText);
    expect(await keys.paid()).toEqual({ charges: [OWNERS_COST], wallet: OWNERS_COST });
  });

  it.each([
    ['VOIDED', undefined],
    ['COMMITTED by its checkpoint', 40],
  ])(
    'say the answer again where a late settle charged it by a correction, beside a charge that is %s',
    async (_, tokens) => {
      const call = await keys.admitted(keys.owner());
      if (tokens !== undefined) call.held.checkpointFrom(() => deliveredOf(tokens));
      await keys.doomed.module.get(Checkpoints).write();
      await keys.sweep();
      await call.keep();
      expect(await keys.settleTold(call)).toBe('charged');
      await call.answered();
      expect(await keys.replayed(keys.heir())).toBe(`${call.answerText}!`);
      expect(await keys.paid()).toEqual({ charges: [OWNERS_COST], wallet: OWNERS_COST });
      await expectInvariants(keys.living);
    },
  );

  it('give back a correction, too, where nothing was stored', async () => {
    const call = await keys.admitted(keys.owner());
    await keys.sweep();
    expect(await keys.settleTold(call)).toBe('charged');
    await keys.heirIsCharged();
    expect(await keys.paid()).toEqual({ charges: [HEIRS_COST], wallet: HEIRS_COST });
    await expectInvariants(keys.living);
  });

  it('go to one of many retries at once, and their first charge is given back once', async () => {
    const call = await keys.admitted(keys.owner());
    expect(await keys.settleTold(call)).toBe('charged');
    await keys.declareDead();
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => keys.kindOf(keys.heir())));
    expect(outcomes.filter((kind) => kind === 'claimed')).toHaveLength(1);
    expect(new Set(outcomes)).toEqual(new Set(['claimed', 'IDEMPOTENCY_KEY_IN_USE']));
    const refunds = (await keys.booked()).filter(({ type }) => type === 'refund');
    expect(refunds).toHaveLength(1);
  });

  it('whose API key is not there any more end like any other', async () => {
    const { rows } = await keys.living.pool.query(`select 1 from api_key where id = $1`, [keys.request.apiKeyId]);
    expect(rows).toEqual([]);
    const call = await keys.admitted(keys.owner());
    await keys.declareDead();
    await keys.heirIsCharged();
    expect(await keys.settleTold(call)).toBe('BILLING_SERVICE_ERROR');
  });

  it(`are charged once however death, sweep, waking up and retries fall together (${RACES} seeds from ${FIRST_SEED})`, async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + RACES; seed += 1) await race(new Seeded(seed));
    await keys.sweep();
    await expectInvariants(keys.living);
  }, 240_000);

  /** An owner that goes on at its own pace while it is declared dead, swept, and its key asked for by many. */
  async function race(random: Seeded): Promise<void> {
    await keys.renew();
    const call = await keys.claimed(keys.owner());
    const stepsBefore = random.integer(0, 4);
    const steps: (() => Promise<unknown>)[] = [
      () => call.reserve(),
      async () => call.charge?.durable(),
      () => call.keep(),
      async () => call.charge && call.settle(OWNERS_COST).catch(() => undefined),
      async () => call.charge && call.answered(),
    ];
    for (const step of steps.slice(0, stepsBefore)) await step();
    if (call.charge && random.integer(0, 1) === 1) call.charge.checkpointFrom(() => deliveredOf(40));
    await keys.doomed.module.get(Checkpoints).write();
    await keys.declareDead();
    const retry = async (): Promise<string> => {
      const heirs = keys.heir();
      for (let attempt = 0; attempt < 200; attempt += 1) {
        const outcome = await heirs.claim();
        if (outcome.kind === 'replay') return 'replay';
        if (outcome.kind === 'claimed') return (await heirs.finish(HEIRS_COST)) ? 'charged' : 'refused';
        if (outcome.refusal.code !== 'IDEMPOTENCY_KEY_IN_USE') return outcome.refusal.code;
        await pause(20);
      }
      return 'never';
    };
    const wake = async (): Promise<void> => {
      for (const step of steps.slice(stepsBefore)) await step();
    };
    const works: (() => Promise<unknown>)[] = [wake, () => keys.sweep(), retry, retry, retry];
    const order = works.map((work) => ({ work, at: random.integer(0, 1_000) })).sort((a, b) => a.at - b.at);
    const ended = await Promise.all(order.map(({ work }) => work()));
    const told = ended.filter((end) => typeof end === 'string');
    const { charges, wallet } = await keys.paid();
    const [first] = charges;
    expect({ seed: random.seed, told, charges, wallet }).toEqual({
      seed: random.seed,
      told,
      charges: [first],
      wallet: first,
    });
    expect(told.filter((end) => end !== 'replay' && end !== 'charged')).toEqual([]);
    expect(await keys.kindOf(keys.heir())).toBe('replay');
  }
});
