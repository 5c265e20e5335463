import { connect, type Socket } from 'node:net';
import type { PaidModel } from '../factories/paid-model';
import { ALL_HOLD, invariantsOf, MoneyStage, until } from '../support/money-stage';
import type { TestGateway } from '../support/test-gateway';

describe('a gateway told to stop while a call’s body is still coming', () => {
  let stage: MoneyStage;
  let other: TestGateway;
  let paid: PaidModel;

  beforeAll(async () => {
    stage = await MoneyStage.open();
    other = await stage.startGateway();
    paid = await stage.paidModel(other, { tenant: { daily_quota: null, monthly_quota: null } });
  }, 60_000);

  afterAll(() => stage.close(), 30_000);

  /** A gateway on its way out, seen to be so, which has the first half of a call's body. */
  async function leavingWith(upload: string, env: Record<string, string>): Promise<[TestGateway, Upload]> {
    const leaving = await stage.startGateway(env);
    const client = new Upload(leaving.port);
    client.write(upload);
    await until(
      async () => (await inFlight(leaving)) === 1,
      5_000,
      () => 'the upload is not seen',
    );
    process.kill(leaving.pid, 'SIGTERM');
    await until(
      () => leaving.logs().includes('SIGTERM: draining, 1 requests in flight'),
      5_000,
      () => 'the drain did not begin',
    );
    return [leaving, client];
  }

  async function charges(): Promise<number> {
    await stage.quiet([paid.tenantId]);
    expect(await invariantsOf(other)).toEqual(ALL_HOLD);
    const { rows } = await stage.pool.query<{ n: number }>(
      `select count(*)::int as n from billing_transaction where type = 'charge' and status = 'COMMITTED'`,
    );
    return rows[0]?.n ?? -1;
  }

  it('answers and charges it, and exits with 0', async () => {
    const before = await charges();
    const [first, rest] = halves(paid);
    const [leaving, client] = await leavingWith(first, {});
    client.write(rest);
    expect(await client.closed).toMatch(/^HTTP\/1\.1 200 /);
    expect(await leaving.ended).toBe(0);
    expect(await charges()).toBe(before + 1);
  }, 60_000);

  it('tells it to come again where it does not come in time, charges nothing, and exits with 0', async () => {
    const before = await charges();
    const [leaving, client] = await leavingWith(halves(paid)[0], { DRAIN_DEADLINE_MS: '300' });
    const answer = await client.closed;
    expect(answer).toMatch(/^HTTP\/1\.1 503 /);
    expect(answer).toMatch(/^retry-after: \d+\r$/im);
    expect(answer).toContain('"code":"SHUTTING_DOWN"');
    expect(await leaving.ended).toBe(0);
    expect(await charges()).toBe(before);
  }, 60_000);
});

async function inFlight({ url, adminToken }: TestGateway): Promise<number> {
  const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${adminToken}` } });
  return Number(/^tollgate_requests_in_flight (\d+)$/m.exec(await response.text())?.[1]);
}

/** A chat call as bytes, cut in the middle of its body. */
function halves({ key, model }: PaidModel): readonly [string, string] {
  const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'a slow upload' }] });
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n`;
  const length = `content-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`;
  return [head + length + body.slice(0, 20), body.slice(20)];
}

class Upload {
  /** All that came until the gateway closed the connection. */
  readonly closed: Promise<string>;
  private readonly socket: Socket;

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.closed = new Promise((resolve) => {
      let received = '';
      this.socket.on('data', (chunk) => (received += chunk.toString()));
      this.socket.on('error', () => undefined);
      this.socket.on('close', () => {
        resolve(received);
      });
    });
  }

  write(text: string): void {
    this.socket.write(text);
  }
}
