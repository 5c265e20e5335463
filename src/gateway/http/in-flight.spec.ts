import { once } from 'node:events';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { Controller, Get, HttpCode, Module, Post, Req } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyRequest } from 'fastify';
import { eventually } from '../../../test/support/eventually';
import { SystemClock } from '../../kernel/clock';
import { Drain } from '../../platform/http/drain';
import { RouteBook } from '../../platform/http/route-book';
import { ErrorFilter } from '../errors/error.filter';
import { createHttpAdapter } from './http-adapter';
import { countInFlight, outlastsAnswer } from './in-flight';

const PATIENT = { graceMs: 0, deadlineMs: 60_000, settleMs: 60_000 };
const BODY = '{"a":1}';

@Controller()
class Edge {
  static leave: () => void = () => undefined;

  @Post('v1/echo')
  @HttpCode(200)
  echo(@Req() { body }: FastifyRequest): unknown {
    return { echo: Buffer.isBuffer(body) ? body.toString() : null };
  }

  @Post('v1/late')
  @HttpCode(200)
  late(@Req() request: FastifyRequest): unknown {
    Edge.leave = outlastsAnswer(request);
    return {};
  }

  @Get('health')
  health(@Req() { inFlight }: FastifyRequest): unknown {
    return { isCounted: inFlight !== null };
  }
}

@Module({ controllers: [Edge] })
class EdgeModule {}

describe('a request in flight', () => {
  let app: NestFastifyApplication;
  let drain: Drain;
  let port: number;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    drain = new Drain();
    const routes = new RouteBook();
    const limits = { headersMs: 60_000, requestMs: 60_000, keepAliveMs: 1_000, silenceMs: 60_000, checkMs: 1_000 };
    const adapter = createHttpAdapter(limits, routes);
    const options = { bodyParser: false, logger: false } as never;
    app = await NestFactory.create<NestFastifyApplication>(EdgeModule, adapter, options);
    app.useGlobalFilters(new ErrorFilter(new SystemClock(), routes));
    countInFlight(adapter.getInstance(), drain);
    await app.listen(0, '127.0.0.1');
    ({ port } = app.getHttpServer().address() as AddressInfo);
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await app.close();
  });

  /** Sends a request's head and the first bytes of its body; resolves once the gateway knows of it. */
  async function upload(path = '/v1/echo'): Promise<Upload> {
    const before = drain.inFlight;
    const socket = connect(port, '127.0.0.1');
    sockets.push(socket);
    socket.write(
      `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n{`,
    );
    await eventually('the request is counted', () => (drain.inFlight > before ? true : undefined));
    return new Upload(socket);
  }

  it('is counted from its head on, until it is answered', async () => {
    const first = await upload();
    const second = await upload();
    expect(drain.inFlight).toBe(2);
    first.finish();
    expect(await first.answer()).toContain('{"echo":"{\\"a\\":1}"}');
    expect(drain.inFlight).toBe(1);
    second.finish();
    await second.answer();
    expect(drain.inFlight).toBe(0);
  });

  it('is counted no more once its client has hung up', async () => {
    const left = await upload();
    left.hangUp();
    await eventually('the request is counted out', () => (drain.inFlight === 0 ? true : undefined));
  });

  it('is counted as long as its handler says, where that outlasts the answer', async () => {
    const slow = await upload('/v1/late');
    slow.finish();
    await slow.answer();
    expect(drain.inFlight).toBe(1);
    Edge.leave();
    expect(drain.inFlight).toBe(0);
  });

  it('of an operator is not counted: probes go on until the end', async () => {
    const response = await fetch(`http://127.0.0.1:${port}/health`);
    expect(await response.json()).toEqual({ isCounted: false });
  });

  it('whose body is still coming is waited for by the drain, and answered', async () => {
    const slow = await upload();
    const done = drain.run(PATIENT);
    await new Promise(setImmediate);
    expect(drain.refusesNew).toBe(true);
    slow.finish();
    expect(await slow.answer()).toMatch(/^HTTP\/1\.1 200 /);
    await expect(done).resolves.toBe(0);
  });

  it('whose body has not come by the deadline is told to come again elsewhere', async () => {
    const slow = await upload();
    const done = drain.run({ ...PATIENT, deadlineMs: 10 });
    const answer = await slow.answer();
    expect(answer).toMatch(/^HTTP\/1\.1 503 /);
    expect(answer).toContain('"code":"SHUTTING_DOWN"');
    expect(answer.toLowerCase()).toMatch(/^retry-after: \d+\r$/m);
    expect(answer.toLowerCase()).toMatch(/^connection: close\r$/m);
    await expect(done).resolves.toBe(0);
  });

  it('that comes after the drain began is refused with when to come back', async () => {
    const held = await upload();
    const done = drain.run(PATIENT);
    await new Promise(setImmediate);
    const response = await fetch(`http://127.0.0.1:${port}/v1/echo`, { method: 'POST', body: BODY });
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
    held.finish();
    await done;
  });
});

class Upload {
  private received = '';

  constructor(private readonly socket: Socket) {
    socket.on('data', (chunk) => (this.received += chunk.toString()));
    socket.on('error', () => undefined);
  }

  finish(): void {
    this.socket.write(BODY.slice(1));
  }

  hangUp(): void {
    this.socket.destroy();
  }

  /** What came until the end of the first JSON body. */
  async answer(): Promise<string> {
    while (!/\r\n\r\n.*\}$/s.test(this.received) && !this.socket.destroyed) await once(this.socket, 'data');
    return this.received;
  }
}
