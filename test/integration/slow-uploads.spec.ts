import { randomUUID } from 'node:crypto';
import { GatewayProcess } from '../../src/billing/process/gateway-process';
import type { OpenCharge } from '../../src/billing/settlement/open-charge';
import { nanoUsd } from '../../src/kernel/money';
import type { QuotaMode } from '../../src/quota/authority-row';
import { EpochAuthority } from '../../src/quota/epoch-authority';
import type { CallerLimits } from '../../src/quota/scopes/caller-limits';
import { createTenant, holdRequest, type MoneyProcess, ONE_NANO_A_TOKEN, outputOf } from '../support/money-harness';
import { QuotaStage } from './postgres-quota-stage';

const UPLOAD_MS = 90_000;

/** As the gateway made it when the headers of a call arrived, long before its body had. */
function traceIdFromThen(): string {
  const hex = Math.floor(Date.now() - UPLOAD_MS)
    .toString(16)
    .padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7${randomUUID().slice(15)}`;
}

describe.each<QuotaMode>(['redis', 'postgres'])('calls whose bodies took long to arrive, while %s decides,', (mode) => {
  let stage: QuotaStage;
  let money: MoneyProcess;

  beforeAll(async () => {
    stage = await QuotaStage.open(mode);
    ({ money } = stage);
    stage.clock.offsetMs = 0;
  });

  afterAll(() => stage.close());

  /** As the gateway does, with a beat where it hurts most: after the reservation, before the charge is open here. */
  async function admit(limits: CallerLimits): Promise<OpenCharge | undefined> {
    const request = holdRequest(limits, 1_000n);
    const slow = { ...request, pending: { ...request.pending, trace_id: traceIdFromThen() } };
    const isOpen = money.charges.opens(slow.pending.trace_id);
    try {
      const outcome = await money.store.reserve(slow);
      await money.module.get(GatewayProcess).writeBeat();
      if (!outcome.admitted) return undefined;
      const charge = money.charges.begin(outcome.hold, slow, ONE_NANO_A_TOKEN);
      if ('code' in charge) throw new Error(charge.code);
      return (await charge.durable()) ? undefined : charge;
    } finally {
      isOpen();
    }
  }

  it('are admitted for what is paid for and no more, though each is older than the beat before it allowed for', async () => {
    const limits = await createTenant(money, nanoUsd(1_000n), { concurrency: 1 });
    const epochs = money.module.get(EpochAuthority);
    const admitted: OpenCharge[] = [];
    for (let call = 0; call < 5; call += 1) {
      const charge = await admit(limits);
      if (charge) admitted.push(charge);
      // What Redis has is read from the rows again.
      if (mode === 'redis') await epochs.raiseBeyond(epochs.current, 'a test');
    }
    expect(admitted).toHaveLength(1);
    for (const charge of admitted) await charge.settle(outputOf(1_000));
    const { rows } = await money.pool.query(
      `select name, posted_nano_usd as posted from ledger_account where tenant_id = $1 order by name`,
      [limits.tenantId],
    );
    expect(rows).toEqual([
      { name: 'overrun', posted: '0' },
      { name: 'wallet', posted: '0' },
    ]);
  });
});
