import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { newId } from '../../src/kernel/ids';
import { nanoUsd } from '../../src/kernel/money';
import { freePort } from '../../src/platform/embedded/free-port';
import { TenantRebuild } from '../../src/quota/warm-up/tenant-rebuild';
import {
  createTenant,
  holdRequest,
  type MoneyProcess,
  ONE_NANO_A_TOKEN,
  outputOf,
  startMoneyProcess,
} from '../support/money-harness';
import { eventually } from '../support/eventually';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { testState } from '../support/test-state';

const LIMIT = nanoUsd(1_000_000n);
const USD = { day: LIMIT, week: LIMIT, month: LIMIT };

describe('on a server of a Redis Cluster', () => {
  let database: TestDatabase;
  let server: ChildProcess;
  let operator: Redis;
  let money: MoneyProcess;

  beforeAll(async () => {
    database = await createTestDatabase();
    const { root, redisBinary } = testState();
    const [port, busPort] = [await freePort(0), await freePort(0)];
    const dir = mkdtempSync(join(root, 'redis-cluster-'));
    const args = [
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly', 'no'],
      ...['--cluster-enabled', 'yes', '--cluster-port', String(busPort), '--maxmemory-policy', 'noeviction'],
    ];
    const { command, libraryPath } = redisBinary;
    server = spawn(command, args, {
      stdio: 'ignore',
      env: libraryPath === undefined ? {} : { LD_LIBRARY_PATH: libraryPath },
    });
    operator = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: 50 });
    await operator.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    await eventually('the cluster serves', async () =>
      String(await operator.call('CLUSTER', 'INFO')).includes('cluster_state:ok') ? true : undefined,
    );
    money = await startMoneyProcess({ databaseUrl: database.url, redisUrl: `redis://127.0.0.1:${port}` });
  }, 60_000);

  afterAll(async () => {
    await money.close();
    operator.disconnect();
    server.kill('SIGTERM');
    await once(server, 'exit');
    await database.drop();
  });

  it('a hold that counts in every scope is made, extended and ended, and its tenant rebuilt, in one slot', async () => {
    const limits = await createTenant(money, nanoUsd(10_000n), {
      ...{ dailyQuota: 10, monthlyQuota: 10, rpm: 10, tpm: 10_000, concurrency: 10 },
      key: { apiKeyId: newId(), budget: LIMIT, usd5h: LIMIT, usd1d: LIMIT, usd7d: LIMIT },
      user: { userId: newId(), rpm: 10, platforms: new Map([['openai', USD]]) },
      group: { groupId: newId(), rpm: 10 },
    });
    const { tenantId } = limits;
    const request = holdRequest(limits, 100n);
    const outcome = await money.store.reserve(request);
    if (!outcome.admitted) throw new Error(`refused: ${outcome.refusal.code}`);
    expect(outcome.hold.counted).toHaveLength(13);
    const charge = money.charges.begin(outcome.hold, request, ONE_NANO_A_TOKEN);
    if ('code' in charge) throw new Error(`refused: ${charge.code}`);
    await charge.durable();
    const { service, platform, holdId } = request;
    const { epoch } = outcome.hold;
    expect(await money.store.extend({ holdId, limits, epoch, amount: nanoUsd(150n), service, platform })).toMatchObject(
      { extended: true },
    );
    expect(await money.module.get(TenantRebuild).rebuild(tenantId)).toMatchObject({ state: 'rebuilt' });

    const keys = (await operator.keys('tg:*')).filter((key) => key.includes(tenantId));
    expect(keys).toHaveLength(6);
    const slots = await Promise.all(keys.map((key) => operator.call('CLUSTER', 'KEYSLOT', key)));
    expect(new Set(slots).size).toBe(1);

    await charge.settle(outputOf(40));
    await money.module.get(ProjectionQueue).drain(15_000);
    expect(await operator.hmget(`tg:{${tenantId}}:quota`, 'posted', 'held')).toEqual(['9960', '0']);
  });
});
