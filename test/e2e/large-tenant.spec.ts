import { createApiKey, createTenant } from '../factories/tenants';
import { plainCall } from '../support/plain-call';
import { ALL_HOLD, invariantsOf, MoneyStage } from '../support/money-stage';

/** What 23,000 keys with three limits have left behind. */
const COUNTERS = 70_000;

describe('a tenant whose keys have had tens of thousands of limits', () => {
  let stage: MoneyStage;

  beforeAll(async () => {
    stage = await MoneyStage.open();
  });
  afterAll(() => stage.close(), 30_000);

  it('is served from its first call on, and so is everybody else', async () => {
    const gateway = await stage.startGateway();
    const { model, key: others, tenantId: otherId } = await stage.paidModel(gateway);
    stage.simulator.script('*', { text: 'Hi.', promptTokens: 6, completionTokens: 3 });
    const tenantId = await createTenant(gateway);
    const { key } = await createApiKey(gateway, tenantId, { budget_usd: '5', limit_5h_usd: '1' });
    await stage.pool.query(
      `insert into quota_counter select $1, 'key:' || gen_random_uuid() || ':budget', 0, 0, 0 from generate_series(1, $2::int)`,
      [tenantId, COUNTERS],
    );
    const body = { model, messages: [{ role: 'user', content: 'Hello' }] };
    const callers = [key, others, others, key, others, key];
    const answers = await Promise.all(callers.map((caller) => plainCall(gateway, caller, { body })));
    expect(answers.map(({ status }) => status)).toEqual(callers.map(() => 200));
    await stage.quiet([tenantId, otherId]);
    expect(await invariantsOf(gateway)).toEqual(ALL_HOLD);
  }, 60_000);
});
