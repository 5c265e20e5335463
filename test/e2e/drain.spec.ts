import type { PaidModel } from '../factories/paid-model';
import { errorOf, type RunningCall } from '../support/client-log';
import { ALL_HOLD, invariantsOf, MoneyStage, until } from '../support/money-stage';
import type { TestGateway } from '../support/test-gateway';
import { readLedger } from '../support/three-logs';

const STREAMS = 20;

describe('a gateway told to stop while it streams, beside one that goes on', () => {
  let stage: MoneyStage;
  let other: TestGateway;
  let paid: PaidModel;

  beforeAll(async () => {
    stage = await MoneyStage.open();
    other = await stage.startGateway();
    paid = await stage.paidModel(other, { tenant: { daily_quota: null, monthly_quota: null } });
  }, 60_000);

  afterAll(() => stage.close(), 30_000);

  /** Streams whose first bytes have arrived. */
  async function startStreams(gateway: TestGateway, script: object): Promise<readonly RunningCall[]> {
    const streams = Array.from({ length: STREAMS }, () =>
      stage.clients.start(gateway.url, {
        key: paid.key,
        model: paid.model,
        isStream: true,
        fields: { x_simulate: script },
      }),
    );
    await until(
      () => streams.every((stream) => stream.bytesSoFar() > 0),
      20_000,
      () => 'not every stream runs',
    );
    return streams;
  }

  async function expectNothingOpen(gateway: TestGateway): Promise<void> {
    await stage.quiet([paid.tenantId]);
    const verdict = await stage.threeLogs([paid.tenantId]);
    expect(verdict.violations).toEqual([]);
    expect(await stage.projected(paid.tenantId)).toBe((await stage.posted(paid.tenantId)).wallet);
    expect(await invariantsOf(other)).toEqual(ALL_HOLD);
    const { rows } = await stage.pool.query<{ status: string }>(`select status from gateway_process where pid = $1`, [
      gateway.pid,
    ]);
    expect(rows).toEqual([{ status: 'ended' }]);
  }

  it('is not ready, refuses what is new, lets running streams end, and exits with 0', async () => {
    const leaving = await stage.startGateway();
    const streams = await startStreams(leaving, { tokens: 40, paceMs: 50 });
    process.kill(leaving.pid, 'SIGTERM');
    await until(
      async () => (await readiness(leaving)) === 503,
      5_000,
      () => 'still ready',
    );

    const late = await stage.clients.call(leaving.url, { key: paid.key, model: paid.model });
    expect(late.status).toBe(503);
    expect(late.headers['x-should-retry']).toBe('true');
    expect(late.headers.connection).toBe('close');
    expect(errorOf(late)).toMatchObject({ code: 'SHUTTING_DOWN' });
    const elsewhere = await stage.clients.call(other.url, { key: paid.key, model: paid.model });
    expect(elsewhere.outcome).toBe('answered');

    const records = await Promise.all(streams.map((stream) => stream.done));
    expect(records.map(({ outcome }) => outcome)).toEqual(Array.from({ length: STREAMS }, () => 'answered'));
    expect(await leaving.ended).toBe(0);
    await expectNothingOpen(leaving);
  }, 60_000);

  it('cuts what still runs at the deadline, charges what was delivered, and exits with 0', async () => {
    const leaving = await stage.startGateway({ DRAIN_DEADLINE_MS: '300' });
    const streams = await startStreams(leaving, { text: 'one two three four five six seven eight', hangAt: 5 });
    process.kill(leaving.pid, 'SIGTERM');
    const records = await Promise.all(streams.map((stream) => stream.done));
    expect(await leaving.ended).toBe(0);
    const rows = await readLedger(stage.pool, [paid.tenantId]);
    for (const record of records) {
      // An error event and no clean end: a client must not take half an answer for a whole one.
      expect(record.outcome).toBe('unknown');
      expect(record.body).toContain('"code":"SHUTTING_DOWN"');
      const row = rows.find(({ traceId }) => traceId === record.traceId);
      expect(row).toMatchObject({ status: 'COMMITTED', endReason: 'cut_by_shutdown', output: 5n });
      expect(row?.amount).toBeGreaterThan(0n);
    }
    await expectNothingOpen(leaving);
  }, 60_000);

  it('gives up a call whose answer has not begun, and charges nothing for it', async () => {
    const leaving = await stage.startGateway({ DRAIN_DEADLINE_MS: '300' });
    const calls = [false, true].map((isStream) =>
      stage.clients.start(leaving.url, {
        key: paid.key,
        model: paid.model,
        isStream,
        fields: { x_simulate: { hangAt: 'headers' } },
      }),
    );
    await until(
      async () => (await stage.openOf([paid.tenantId])).pending === calls.length,
      10_000,
      () => 'the calls are not under way',
    );
    process.kill(leaving.pid, 'SIGTERM');
    const records = await Promise.all(calls.map((call) => call.done));
    for (const record of records) {
      expect(record.status).toBe(503);
      expect(errorOf(record)).toMatchObject({ code: 'SHUTTING_DOWN' });
    }
    expect(await leaving.ended).toBe(0);
    await expectNothingOpen(leaving);
  }, 60_000);
});

async function readiness(gateway: TestGateway): Promise<number> {
  const response = await fetch(`${gateway.url}/health/ready`);
  await response.arrayBuffer();
  return response.status;
}
