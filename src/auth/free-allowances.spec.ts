import { eventually } from '../../test/support/eventually';
import 'reflect-metadata';
import { AuthInstance, type MadeKey } from '../../test/support/auth-harness';
import { createTestDatabase, type TestDatabase } from '../../test/support/test-database';
import { testSettings } from '../../test/support/test-settings';
import { BootError } from '../platform/config/boot-error';
import { FreeAllowances, parseFreeAllowances } from './free-allowances';

describe('free allowances', () => {
  let database: TestDatabase;
  let none: AuthInstance;
  let generous: AuthInstance;
  let twin: AuthInstance;

  beforeAll(async () => {
    database = await createTestDatabase();
    [none, generous, twin] = await Promise.all([
      AuthInstance.start(database.url),
      AuthInstance.start(database.url, { freeAllowances: 'chat=100' }),
      AuthInstance.start(database.url, { freeAllowances: 'chat=200' }),
    ]);
  });
  afterAll(async () => {
    await Promise.all([none, generous, twin].map(({ module }) => module.close()));
    await database.drop();
  });

  const makeTenant = (): Promise<string> => none.insert('tenant', { name: 'Acme', timezone: 'UTC' });

  it('are made by the first look-up of a tenant’s key, and no later one sends a statement more', async () => {
    const tenantId = await makeTenant();
    const { key } = await none.insertKey({ tenant_id: tenantId });
    expect((await none.limitsOf(key)).allowances).toEqual(new Map());
    expect((await generous.limitsOf(key)).allowances).toEqual(new Map([['chat', 100]]));
    await eventually('the other process hears of it', async () =>
      (await none.limitsOf(key)).allowances.get('chat') === 100 ? true : undefined,
    );
    const { key: next } = await none.insertKey({ tenant_id: tenantId });
    const before = generous.statements.length;
    expect((await generous.limitsOf(next)).allowances).toEqual(new Map([['chat', 100]]));
    expect(generous.statements.length - before).toBe(1);
  });

  it('are made for every service that is configured', async () => {
    const both = await AuthInstance.start(database.url, { freeAllowances: 'chat=10,embeddings=20' });
    const { key } = await none.insertKey({ tenant_id: await makeTenant() });
    const made = new Map([
      ['chat', 10],
      ['embeddings', 20],
    ]);
    expect((await both.limitsOf(key)).allowances).toEqual(made);
    await both.module.close();
  });

  it('stay what an administrator made them, also none at all', async () => {
    const tenantId = await makeTenant();
    await none.insert('free_allowance', { id: undefined, tenant_id: tenantId, service: 'chat', monthly_calls: 0 });
    const { key } = await none.insertKey({ tenant_id: tenantId });
    expect((await generous.limitsOf(key)).allowances).toEqual(new Map([['chat', 0]]));
  });

  it('are one row however many processes and keys ask at once, and all get the one that stands', async () => {
    const tenantIds = await Promise.all(Array.from({ length: 20 }, makeTenant));
    const keys: MadeKey[] = [];
    for (const id of [...tenantIds, ...tenantIds]) keys.push(await none.insertKey({ tenant_id: id }));
    const answers = await Promise.all(
      [generous, twin].flatMap((instance) => keys.map(({ key }) => instance.limitsOf(key))),
    );
    const { rows } = await none.pool.query<{ tenant_id: string; monthly_calls: string }>(
      'select tenant_id, monthly_calls from free_allowance where tenant_id = any ($1)',
      [tenantIds],
    );
    expect(rows).toHaveLength(20);
    const standing = new Map(rows.map((row) => [row.tenant_id, Number(row.monthly_calls)]));
    expect(answers.map(({ allowances }) => allowances.get('chat'))).toEqual(
      answers.map(({ tenantId }) => standing.get(tenantId)),
    );
  });

  it.each([
    ['chat=1,chat=2', /^FREE_ALLOWANCES .* chat once/],
    ['telepathy=5', /^FREE_ALLOWANCES .* chat/],
  ])('refuse %s by the name of the variable', (text, reason) => {
    expect(() => parseFreeAllowances(text)).toThrow(reason);
  });

  it('stop the boot where they name what is no service', () => {
    const settings = testSettings({ freeAllowances: 'telepathy=5' });
    expect(() => new FreeAllowances(settings, none.pool)).toThrow(BootError);
  });
});
