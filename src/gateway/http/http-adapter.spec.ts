import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { Body, Controller, Get, HttpCode, Logger, Module, Post, Req, UsePipes } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Type } from 'class-transformer';
import { IsArray, IsInt, IsString, ValidateNested } from 'class-validator';
import type { FastifyRequest } from 'fastify';
import { eventually } from '../../../test/support/eventually';
import { SystemClock } from '../../kernel/clock';
import { refuse, RefusalError } from '../../kernel/errors';
import { ControlPlaneValidationPipe } from '../../platform/http/control-plane-validation.pipe';
import { Drain } from '../../platform/http/drain';
import { RouteBook } from '../../platform/http/route-book';
import { ErrorFilter } from '../errors/error.filter';
import { createHttpAdapter } from './http-adapter';
import { countInFlight } from './in-flight';

class Entry {
  @IsInt()
  weight!: number;
}

class Order {
  @IsString()
  name!: string;

  @IsArray()
  @ValidateNested({ each: true })
  @Type(() => Entry)
  entries!: Entry[];
}

@Controller('admin/v1')
@UsePipes(ControlPlaneValidationPipe)
class ControlPlane {
  @Post('orders')
  @HttpCode(200)
  order(@Body() order: Order): unknown {
    return { isOrder: order instanceof Order, order };
  }

  @Post('orders/:id/cancel')
  @HttpCode(200)
  cancel(@Req() request: FastifyRequest): unknown {
    return { body: request.body ?? null };
  }
}

@Controller('v1')
class DataPlane {
  @Post('echo')
  @HttpCode(200)
  echo(@Req() request: FastifyRequest): unknown {
    return {
      isBuffer: Buffer.isBuffer(request.body),
      text: Buffer.isBuffer(request.body) ? request.body.toString() : '',
    };
  }

  @Post('messages')
  messages(): never {
    throw new RefusalError(refuse('MODEL_NOT_FOUND', { param: 'model', values: { model: 'x' } }));
  }

  @Get('refused')
  refused(): never {
    throw new RefusalError(
      refuse('QUOTA_DAILY_EXCEEDED', { windowResetsAt: new Date(Date.now() + 90_000), values: { used: 5, limit: 5 } }),
    );
  }

  @Get('broken')
  broken(): never {
    throw new Error('the password is canary');
  }

  @Get('live')
  live(): unknown {
    return { ok: true };
  }
}

@Module({ controllers: [ControlPlane, DataPlane] })
class EdgeModule {}

let app: NestFastifyApplication;
let url: string;
let port: number;
const drain = new Drain();

beforeAll(async () => {
  const routes = new RouteBook();
  const limits = { headersMs: 150, requestMs: 1_500, keepAliveMs: 1_000, silenceMs: 10_000, checkMs: 20 };
  const adapter = createHttpAdapter(limits, routes);
  app = await NestFactory.create<NestFastifyApplication>(EdgeModule, adapter, {
    bodyParser: false,
    logger: false,
  } as never);
  app.useGlobalFilters(new ErrorFilter(new SystemClock(), routes));
  countInFlight(adapter.getInstance(), drain);
  await app.listen(0, '127.0.0.1');
  ({ port } = app.getHttpServer().address() as AddressInfo);
  url = `http://127.0.0.1:${port}`;
});
afterAll(() => app.close());

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: { readonly error: Record<string, unknown> } & Record<string, unknown>;
}

async function send(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url + path, init);
  return { status: response.status, headers: response.headers, body: (await response.json()) as Answer['body'] };
}

const post = (
  path: string,
  body: string | Buffer<ArrayBuffer>,
  type: string | null = 'application/json',
): Promise<Answer> => send(path, { method: 'POST', body, headers: type === null ? {} : { 'content-type': type } });

/** Sends bytes as they are and gives all that comes back until the server closes. */
async function raw(bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => (answer += chunk.toString()));
  socket.on('error', () => undefined);
  socket.write(bytes);
  await once(socket, 'close');
  return answer;
}

describe('the data plane', () => {
  it('hands over the body as the bytes that came, valid JSON or not', async () => {
    for (const text of ['{"a":1,"a":2, "__proto__":{}}', 'not json', '']) {
      expect((await post('/v1/echo', text)).body).toEqual({ isBuffer: true, text });
    }
  });

  it.each(['application/json; charset=utf-8', 'application/vnd.api+json', 'text/json'])('takes %s', async (type) => {
    expect((await post('/v1/echo', '{}', type)).status).toBe(200);
  });

  it('takes a body without a content type', async () => {
    expect((await post('/v1/echo', Buffer.from('{}'), null)).body).toEqual({ isBuffer: true, text: '{}' });
  });

  it('is not fooled by a path spelled with escapes', async () => {
    expect((await post('/%76%31/echo', '{"a":1}')).body).toEqual({ isBuffer: true, text: '{"a":1}' });
  });

  it('refuses other content types and compressed bodies with 415, naming the header', async () => {
    const form = await post('/v1/echo', 'a=1', 'application/x-www-form-urlencoded');
    expect([form.status, form.body.error.code, form.body.error.param]).toEqual([
      415,
      'UNSUPPORTED_MEDIA_TYPE',
      'content-type',
    ]);
    const zipped = await send('/v1/echo', {
      method: 'POST',
      body: '{}',
      headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
    });
    expect([zipped.status, zipped.body.error.param]).toEqual([415, 'content-encoding']);
  });

  it('refuses a body over 32 MB with 413, announced or not', async () => {
    const announced = await raw(
      'POST /v1/echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 40000000\r\n\r\n',
    );
    expect(announced).toMatch(/^HTTP\/1\.1 413 /);
    expect(announced).toContain('"code":"BODY_TOO_LARGE"');
    expect(announced).toContain('33554432');
    let sentMegabytes = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (sentMegabytes++ < 33) controller.enqueue(new Uint8Array(1024 * 1024).fill(0x20));
        else controller.close();
      },
    });
    const chunked = await send('/v1/echo', { method: 'POST', body, duplex: 'half' });
    expect([chunked.status, chunked.body.error.code]).toEqual([413, 'BODY_TOO_LARGE']);
  });
});

describe('the control plane', () => {
  it('gets its body parsed, checked and as its class', async () => {
    const { body } = await post('/admin/v1/orders', '{"name":"x","entries":[{"weight":1}]}');
    expect(body).toEqual({ isOrder: true, order: { name: 'x', entries: [{ weight: 1 }] } });
  });

  it.each([
    ['{"name":"x","entries":[],"role":"owner"}', 'role', 'property role should not exist'],
    ['{"name":"x","entries":[{"weight":1},{"weight":"a"}]}', 'entries[1].weight', 'weight must be an integer number'],
    ['{"entries":[]}', 'name', 'name must be a string'],
  ])('refuses %s naming the field', async (text, param, reason) => {
    const { status, body } = await post('/admin/v1/orders', text);
    expect(status).toBe(400);
    expect(body.error).toMatchObject({ code: 'INVALID_REQUEST', param });
    expect(body.error.message).toContain(reason);
  });

  it.each([
    ['not JSON', 'no'],
    ['cut short', '{"name":'],
    ['poisoned by __proto__', '{"__proto__":{"role":"owner"},"name":"x","entries":[]}'],
    ['poisoned by constructor', '{"constructor":{"prototype":{"role":"owner"}},"name":"x","entries":[]}'],
    ['too deep', `{"name":${'['.repeat(40)}${']'.repeat(40)}}`],
    ['a bomb', '['.repeat(500_000)],
    ['no object', '"text"'],
    ['null', 'null'],
    ['an array', '[]'],
  ])('refuses a body that is %s with 400', async (_, text) => {
    const { status, body } = await post('/admin/v1/orders', text);
    expect([status, body.error.code]).toEqual([400, 'INVALID_REQUEST']);
  });

  it('takes at most 1 MB', async () => {
    const { status, body } = await post(
      '/admin/v1/orders',
      JSON.stringify({ name: 'x'.repeat(1_100_000), entries: [] }),
    );
    expect([status, body.error.code]).toEqual([413, 'BODY_TOO_LARGE']);
  });

  it('takes an empty body for none', async () => {
    expect((await post('/admin/v1/orders/1/cancel', '')).body).toEqual({ body: null });
  });
});

describe('errors', () => {
  it('tell an unknown path from a method the path does not take', async () => {
    const unknown = await send('/v1/nothing?key=canary');
    expect([unknown.status, unknown.body.error.code]).toEqual([404, 'NOT_FOUND']);
    expect(JSON.stringify(unknown.body)).not.toContain('canary');
    const method = await send('/admin/v1/orders/17/cancel');
    expect([method.status, method.body.error.code, method.headers.get('allow')]).toEqual([
      405,
      'METHOD_NOT_ALLOWED',
      'POST',
    ]);
  });

  it('carry when to come back', async () => {
    const { status, headers, body } = await send('/v1/refused', { headers: { 'accept-language': 'zh-CN' } });
    expect(status).toBe(429);
    expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(89);
    expect(headers.get('x-should-retry')).toBe('false');
    expect(body.error).toMatchObject({
      code: 'QUOTA_DAILY_EXCEEDED',
      type: 'rate_limit_exceeded',
      param: null,
      window_resets_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
    });
    expect(body.error.message).toContain('今日请求次数已用完：5/5');
  });

  it('show nothing of what broke inside, and log it once with the trace id', async () => {
    const logged = jest.spyOn(Logger.prototype, 'error').mockImplementation();
    const { status, headers, body } = await send('/v1/broken');
    expect([status, body.error.code]).toEqual([500, 'INTERNAL_ERROR']);
    expect(JSON.stringify(body)).not.toContain('canary');
    expect(logged).toHaveBeenCalledTimes(1);
    expect(logged).toHaveBeenCalledWith(
      expect.objectContaining({ traceId: headers.get('x-request-id'), route: '/v1/broken' }),
      expect.any(String),
    );
    logged.mockRestore();
  });

  it('are nobody’s news where the client hung up in the middle of its body', async () => {
    const logged = [jest.spyOn(Logger.prototype, 'error'), jest.spyOn(Logger.prototype, 'warn')];
    for (const spy of logged) spy.mockImplementation();
    const socket = connect(port, '127.0.0.1');
    socket.write('POST /v1/echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{');
    await eventually('the request runs', () => (drain.inFlight === 1 ? true : undefined));
    socket.resetAndDestroy();
    await eventually('the request has ended', () => (drain.inFlight === 0 ? true : undefined));
    expect((await send('/v1/live')).status).toBe(200);
    for (const spy of logged) expect(spy).not.toHaveBeenCalled();
    for (const spy of logged) spy.mockRestore();
  });

  it('always carry an id of the gateway’s own making', async () => {
    const { headers } = await send('/v1/live', { headers: { 'x-request-id': 'mine', 'request-id': 'mine' } });
    expect(headers.get('x-request-id')).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect((await send('/nothing')).headers.get('x-request-id')).not.toBe(headers.get('x-request-id'));
  });

  it.each([
    ['a refusal', () => post('/v1/messages', '{}'), 404, 'not_found_error', 'MODEL_NOT_FOUND'],
    ['another method', () => send('/v1/messages?beta=true'), 405, 'invalid_request_error', 'METHOD_NOT_ALLOWED'],
    ['an unknown path', () => post('/v1/messages/batches', '{}'), 404, 'not_found_error', 'NOT_FOUND'],
    ['a broken URL', () => post('/v1/messages/%zz', '{}'), 400, 'invalid_request_error', 'INVALID_REQUEST'],
    [
      'a long body',
      () => post('/v1/messages', Buffer.alloc(32 * 2 ** 20 + 1)),
      413,
      'request_too_large',
      'BODY_TOO_LARGE',
    ],
    ['no JSON', () => post('/v1/messages', '{}', 'text/csv'), 415, 'invalid_request_error', 'UNSUPPORTED_MEDIA_TYPE'],
  ] as const)('have the shape of Anthropic’s where its clients call: %s', async (_, call, status, type, code) => {
    const { body, headers, ...answer } = await call();
    expect(answer.status).toBe(status);
    expect(body).toMatchObject({ type: 'error', error: { type, code }, request_id: headers.get('request-id') });
    expect(headers.get('request-id')).toBe(headers.get('x-request-id'));
    expect(body.request_id).toMatch(/^[0-9a-f-]{36}$/);
  });

  it.each([
    ['that is not HTTP', 'GARBAGE\r\n\r\n', 400],
    ['with a broken URL', 'GET /%zz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', 400],
    ['with too many headers', `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`, 431],
    ['with two lengths', 'POST /v1/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n', 400],
  ])('answer a request %s in the same shape', async (_, bytes, status) => {
    const answer = await raw(bytes);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toContain('"code":"INVALID_REQUEST"');
  });
});

describe('slow sockets', () => {
  it.each([
    ['say nothing', ''],
    ['never end their headers', 'POST /v1/echo HTTP/1.1\r\nhost: x\r\n'],
    [
      'never end their body',
      'POST /v1/echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{',
    ],
  ])('that %s are closed', async (_, bytes) => {
    const startMs = performance.now();
    await raw(bytes);
    expect(performance.now() - startMs).toBeLessThan(10_000);
  });
});

describe('on the way out', () => {
  it('answers with connection: close, then refuses what is new', async () => {
    const leave = drain.enter();
    const done = drain.run({ graceMs: 0, deadlineMs: 60_000, settleMs: 0 });
    await new Promise(setImmediate);
    const refused = await send('/v1/live');
    expect([refused.status, refused.body.error.code]).toEqual([503, 'SHUTTING_DOWN']);
    expect(refused.headers.get('connection')).toBe('close');
    expect(refused.headers.get('x-should-retry')).toBe('true');
    const message = await post('/v1/messages', '{}');
    expect([message.status, message.body]).toMatchObject([503, { type: 'error', error: { type: 'overloaded_error' } }]);
    leave();
    await done;
  });
});
