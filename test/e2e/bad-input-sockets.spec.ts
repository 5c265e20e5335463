import type { PaidModel } from '../factories/paid-model';
import { ALL_HOLD, invariantsOf, MoneyStage } from '../support/money-stage';
import { send, sendBytes } from '../support/raw-http';
import type { TestGateway } from '../support/test-gateway';

describe('bytes that are no honest request', () => {
  let stage: MoneyStage;
  let gateway: TestGateway;
  let paid: PaidModel;
  let body: string;

  beforeAll(async () => {
    stage = await MoneyStage.open();
    gateway = await stage.startGateway();
    paid = await stage.paidModel(gateway, { tenant: { daily_quota: null, monthly_quota: null } });
    body = JSON.stringify({ model: paid.model, messages: [{ role: 'user', content: 'hello' }] });
  }, 60_000);

  afterAll(() => stage.close(), 30_000);

  afterEach(async () => {
    expect((await send(gateway.url, { method: 'GET', path: '/health/live' })).status).toBe(200);
  });

  function head(extra: readonly string[], method = 'POST'): string {
    return [
      `${method} /v1/chat/completions HTTP/1.1`,
      'host: gateway',
      `authorization: Bearer ${paid.key}`,
      'content-type: application/json',
      ...extra,
      '\r\n',
    ].join('\r\n');
  }

  function statusesOf(text: string): number[] {
    return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  }

  async function expectNothingCharged(): Promise<void> {
    const { rows } = await stage.pool.query<{ n: string }>(
      `select count(*) as n from billing_transaction where type = 'charge'`,
    );
    expect(rows).toEqual([{ n: '0' }]);
    expect(stage.simulator.served()).toEqual([]);
  }

  it.each<[string, Buffer | string]>([
    ['garbage', Buffer.from([0, 255, 1, 254, 13, 10, 13, 10])],
    ['a TLS handshake', Buffer.from('16030100c8010000c40303', 'hex')],
    ['an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a request line without end', `GET /${'a'.repeat(100_000)}`],
    ['an unknown method', 'BREW /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n'],
    ['a header without colon', 'POST / HTTP/1.1\r\nhost: x\r\nauthorization\r\n\r\n'],
    ['a NUL in a header', 'POST / HTTP/1.1\r\nhost: x\r\nx-a: b\0c\r\n\r\n'],
    ['a folded header', 'POST / HTTP/1.1\r\nhost: x\r\nx-a: b\r\n c: d\r\n\r\n'],
    ['two lengths', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello'],
    [
      'a length and chunks',
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a negative length', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\nhello'],
    ['chunks of no size', 'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n'],
    ['no host', 'POST / HTTP/1.1\r\n\r\n'],
  ])(
    'are answered with a 4xx and a closed socket: %s',
    async (_, bytes) => {
      const answer = await sendBytes(gateway.port, bytes, 20_000);
      const statuses = statusesOf(answer);
      expect(statuses.length).toBeGreaterThanOrEqual(1);
      for (const status of statuses) expect(status).toBeGreaterThanOrEqual(400);
      for (const status of statuses) expect(status).toBeLessThan(500);
      await expectNothingCharged();
    },
    30_000,
  );

  it('are answered with 431 where the headers are huge, in OpenAI’s shape', async () => {
    for (const extra of [
      [`x-a: ${'a'.repeat(100_000)}`],
      Array.from({ length: 5_000 }, (_, index) => `x-${index}: 1`),
    ]) {
      const answer = await sendBytes(gateway.port, head(extra));
      expect(statusesOf(answer)).toEqual([431]);
      expect(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))).toMatchObject({
        error: { code: 'INVALID_REQUEST' },
      });
    }
    await expectNothingCharged();
  });

  it('cannot put a header or a line of their own into an answer', async () => {
    const names = ['x-request-id', 'accept-language', 'user-agent', 'origin', 'x-forwarded-for', 'idempotency-key'];
    const injected = 'a%0d%0aset-cookie: evil=1\u2028evil';
    for (const name of names) {
      const answer = await sendBytes(
        gateway.port,
        head([`${name}: ${injected}`, 'content-length: 2', 'connection: close']) + '{}',
      );
      expect(statusesOf(answer)).toEqual([400]);
      expect(answer.toLowerCase()).not.toMatch(/^set-cookie:/m);
      expect(answer).not.toContain('evil');
    }
    const inUrl = await sendBytes(
      gateway.port,
      'GET /v1/%0d%0aset-cookie:%20evil=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n',
    );
    expect(statusesOf(inUrl)).toEqual([404]);
    expect(inUrl.toLowerCase()).not.toMatch(/^set-cookie:/m);
    await expectNothingCharged();
  });

  it('are each charged once where honest requests follow each other without waiting, and answered in order', async () => {
    const tags = ['first', 'second', 'third'];
    const requests = tags.map((tag, index) => {
      const text = JSON.stringify({
        model: paid.model,
        messages: [{ role: 'user', content: tag }],
        x_simulate: { text: `the ${tag} answer`, headersDelayMs: 300 - index * 100 },
      });
      const close = index === tags.length - 1 ? ['connection: close'] : [];
      return head([`content-length: ${Buffer.byteLength(text)}`, ...close]) + text;
    });
    const answer = await sendBytes(gateway.port, requests.join(''));
    expect(statusesOf(answer)).toEqual([200, 200, 200]);
    expect([...answer.matchAll(/the (\w+) answer/g)].map(([, tag]) => tag)).toEqual(tags);
    await stage.quiet([paid.tenantId]);
    const { rows } = await stage.pool.query(
      `select status, count(*)::int as n from billing_transaction where type = 'charge' group by status`,
    );
    expect(rows).toEqual([{ status: 'COMMITTED', n: tags.length }]);
    expect(await invariantsOf(gateway)).toEqual(ALL_HOLD);
  });

  it('lose their socket where they come drop by drop, while honest ones are served', async () => {
    const startedMs = performance.now();
    const slow = ['POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: ', '', 'G'].map((bytes) =>
      sendBytes(gateway.port, bytes, 25_000),
    );
    const honest = await send(gateway.url, {
      body,
      headers: { authorization: `Bearer ${paid.key}`, 'content-type': 'application/json' },
    });
    expect(honest.status).toBe(200);
    for (const answer of await Promise.all(slow))
      expect(answer === '' || answer.startsWith('HTTP/1.1 408 ')).toBe(true);
    expect(performance.now() - startedMs).toBeLessThan(22_000);
  }, 40_000);

  it('end the upstream call where their client leaves with the request half sent', async () => {
    await stage.quiet([paid.tenantId]);
    const servedBefore = stage.simulator.served().length;
    const half = head([`content-length: ${body.length}`]) + body.slice(0, 20);
    const sockets = Array.from({ length: 50 }, () => sendBytes(gateway.port, half, 500).catch(() => 'left'));
    expect(await Promise.all(sockets)).toEqual(Array.from({ length: 50 }, () => 'left'));
    expect(stage.simulator.served()).toHaveLength(servedBefore);
  });
});
