import { nanoUsd } from '../../src/kernel/money';
import { ProcessIdentity } from '../../src/platform/process/process-identity';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import { eventually } from '../support/eventually';
import { createTenant, openCharge, reserve } from '../support/money-harness';
import { ModesStage, STILL } from './quota-modes-stage';

describe('a process that dies while Postgres decides', () => {
  let stage: ModesStage;

  beforeEach(async () => {
    stage = await ModesStage.open();
  });

  afterEach(() => stage.close(), 30_000);

  it.each(['Redis is away', 'Redis is there'])(
    'is swept by its rows alone: %s',
    async (how) => {
      const living = await stage.start({ processDeadMs: 1_000, quotaHandBackMs: 3_600_000 });
      const dying = await stage.start(STILL);
      const limits = await createTenant(living, nanoUsd(1_000n));
      await living.module.get(EpochAuthority).switchToPostgres('test');
      await stage.all('postgres');
      if (how === 'Redis is away') await stage.redis.kill9();
      const left = await openCharge(dying, limits, 1_000n);
      expect(await reserve(living, limits, 1n)).toMatchObject({ admitted: false });

      const { id } = dying.module.get(ProcessIdentity);
      await eventually('it is swept', () =>
        stage.asOwner(async (client) => {
          const { rows } = await client.query<{ status: string }>(`select status from gateway_process where id = $1`, [
            id,
          ]);
          return rows[0]?.status === 'swept' || undefined;
        }),
      );
      const { rows } = await living.pool.query<object>(
        `select status, reason_code from billing_transaction where id = $1`,
        [left.held.holdId],
      );
      expect(rows).toEqual([{ status: 'VOIDED', reason_code: 'PROCESS_DEAD' }]);
      expect(await reserve(living, limits, 1_000n)).toMatchObject({ admitted: true });
      // What it brings after that nobody would end.
      await expect(reserve(dying, limits, 0n)).rejects.toThrow(/declared dead/);
    },
    30_000,
  );
});
