import { Client } from 'pg';
import { nanoUsd } from '../../src/kernel/money';
import { ProcessIdentity } from '../../src/platform/process/process-identity';
import { AuthorityRow } from '../../src/quota/authority-row';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { ProjectionQueue } from '../../src/billing/settlement/projection-queue';
import { eventually } from '../support/eventually';
import { adjust, createTenant, type MoneyProcess, openCharge, outputOf, reserve } from '../support/money-harness';
import { ModesStage, STILL } from './quota-modes-stage';

/**
 * Postgres decides; one process has handed back to Redis and rebuilt the tenant there; the other has not heard of it, and
 * ends charges that this rebuild counts as open.
 */
describe('endings of a process that has not heard that Redis decides again', () => {
  let stage: ModesStage;
  let unaware: MoneyProcess;
  let aware: MoneyProcess;
  let limits: CallerLimits;

  beforeEach(async () => {
    stage = await ModesStage.open();
    unaware = await stage.start(STILL);
    aware = await stage.start(STILL);
    limits = await createTenant(unaware, nanoUsd(1_000n), { concurrency: 10 });
    await unaware.module.get(EpochAuthority).switchToPostgres('test');
    await stage.all('postgres');
  });

  afterEach(() => stage.close(), 30_000);

  const epochsOf = (process: MoneyProcess): EpochAuthority => process.module.get(EpochAuthority);

  /** As the beats do it, but without those of the process that is not to hear of it. */
  async function handBack(): Promise<number> {
    await stage.silenceFeed();
    const { server } = aware.redis;
    if (!server) throw new Error('Redis is away');
    const { runId, address } = server;
    const { epoch } = await aware.module.get(AuthorityRow).change(
      () => 'test',
      (now) => ({ epoch: now.epoch + 1n, mode: 'redis', runId, address }),
    );
    await epochsOf(aware).refresh();
    return Number(epoch);
  }

  async function toldAll(process: MoneyProcess): Promise<void> {
    await eventually('all is told', () => process.module.get(ProjectionQueue).depth === 0 || undefined);
  }

  /** Whether the current server, asked by the process that knows it, would admit the amount. */
  async function fits(amount: bigint): Promise<boolean> {
    await epochsOf(aware).refresh();
    const outcome = await reserve(aware, limits, amount);
    if (outcome.admitted) await aware.store.release(limits.tenantId, [outcome.hold.holdId]);
    return outcome.admitted;
  }

  it('owe one raise, by which the current server learns of them, and then the epoch rests', async () => {
    const open = await openCharge(unaware, limits, 600n);
    const failing = await openCharge(unaware, limits, 100n);
    const epoch = await handBack();
    expect(await fits(301n)).toBe(false);

    await open.settle(outputOf(50));
    await failing.void({ reasonCode: 'TEST', endReason: 'failed' });
    await adjust(unaware, limits.tenantId, nanoUsd(-100n));
    await toldAll(unaware);
    expect(epochsOf(unaware).mode).toBe('postgres');
    // Redis holds 700 of money that is spent or free: nobody has told it.
    expect(await fits(301n)).toBe(false);

    await epochsOf(unaware).refresh();
    await eventually('the epoch is raised', async () => (await stage.authority()).epoch > epoch || undefined);
    expect(await fits(851n)).toBe(false);
    expect(await fits(850n)).toBe(true);
    expect(await stage.broken()).toEqual([]);
    expect(await stage.authority()).toMatchObject({ epoch: epoch + 1, mode: 'redis' });
  }, 30_000);

  it('owe nothing where they were all taken before Redis decided again', async () => {
    const open = await openCharge(unaware, limits, 600n);
    await open.settle(outputOf(50));
    await toldAll(unaware);
    const epoch = await handBack();
    expect(await fits(950n)).toBe(true);
    await epochsOf(unaware).refresh();
    expect(await reserve(unaware, limits, 950n)).toMatchObject({ admitted: true });
    expect(await stage.authority()).toMatchObject({ epoch });
  }, 30_000);

  it('are told by the raise of a process that looks once more on its way out', async () => {
    const open = await openCharge(unaware, limits, 600n);
    await handBack();
    expect(await fits(401n)).toBe(false);
    await open.settle(outputOf(50));
    await toldAll(unaware);
    stage.processes.splice(stage.processes.indexOf(unaware), 1);
    await unaware.close();
    expect(await fits(950n)).toBe(true);
  }, 30_000);

  it('leave their process to the sweeper where it cannot look on its way out', async () => {
    const open = await openCharge(unaware, limits, 600n);
    await handBack();
    await open.settle(outputOf(50));
    await toldAll(unaware);
    jest.spyOn(unaware.module.get(AuthorityRow), 'read').mockRejectedValue(new Error('Postgres is away'));
    const { id } = unaware.module.get(ProcessIdentity);
    stage.processes.splice(stage.processes.indexOf(unaware), 1);
    await unaware.close();
    const status = await stage.asOwner((client) =>
      client.query<object>(`select status from gateway_process where id = $1`, [id]),
    );
    expect(status.rows).toEqual([{ status: 'alive' }]);
  }, 30_000);

  it('come too late to reserve in Postgres: the reservation goes where the authority is', async () => {
    await reserve(unaware, limits, 100n);
    await handBack();
    const outcome = await reserve(unaware, limits, 900n);
    expect(outcome).toMatchObject({ admitted: true, hold: { isDurable: false } });
    expect(await fits(1n)).toBe(false);
  }, 30_000);

  it('reach a row whose reservation was not answered, whoever decides by then', async () => {
    const holdOf = async (): Promise<{ status: string }[]> =>
      stage.asOwner(async (client: Client) => {
        const { rows } = await client.query<{ status: string }>(
          `select status from billing_transaction where tenant_id = $1 and type = 'charge'`,
          [limits.tenantId],
        );
        return rows;
      });
    const outcome = await reserve(unaware, limits, 300n);
    if (!outcome.admitted) throw new Error('refused');
    await handBack();
    expect(await fits(701n)).toBe(false);
    await epochsOf(unaware).refresh();
    unaware.charges.abandonReserve(limits.tenantId, outcome.hold.holdId);
    await toldAll(unaware);
    expect(await holdOf()).toEqual([{ status: 'VOIDED' }]);
    expect(await fits(1_000n)).toBe(true);
  }, 30_000);
});
