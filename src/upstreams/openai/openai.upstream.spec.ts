import 'reflect-metadata';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Recorder, REQUEST_BODY, UpstreamHarness } from '../../../test/support/upstream-harness';

describe('OpenAiUpstream', () => {
  let harness: UpstreamHarness;
  beforeEach(() => {
    harness = new UpstreamHarness();
  });
  afterEach(() => harness.stop());

  describe('a call that goes well', () => {
    it('sends the body once, with the provider’s key, and without the caller’s hop-by-hop and credential headers', async () => {
      let seen: IncomingMessage | undefined;
      let body = '';
      const port = await harness.http((request, response) => {
        seen = request;
        request.on('data', (chunk: Buffer) => (body += chunk.toString()));
        request.on('end', () => response.end('ok'));
      });
      await harness.call(harness.target(port), new Recorder(), {
        'openai-beta': 'x=1',
        Connection: 'close, x-hop',
        'Transfer-Encoding': 'chunked',
        Authorization: 'Bearer of-the-client',
        'x-api-key': 'of-the-client',
        cookie: 'session=1',
        host: 'evil.example',
        'content-length': '1',
        expect: '100-continue',
        'accept-encoding': 'gzip',
      }).over;
      expect([seen?.method, seen?.url, body]).toEqual(['POST', '/v1/chat/completions', REQUEST_BODY.toString()]);
      expect(seen?.headers).toEqual({
        host: `127.0.0.1:${port}`,
        connection: 'keep-alive',
        'content-type': 'application/json',
        'content-length': String(REQUEST_BODY.length),
        'accept-encoding': 'identity',
        'user-agent': 'tollgate',
        authorization: 'Bearer sk-secret-of-the-provider',
        'openai-beta': 'x=1',
      });
    });

    it('hands over status, headers, the chunks in order, then the end', async () => {
      const pieces = ['data: {"a"', ':"\u00e4\u5bc6', '"}\n', '\ndata: [DONE]\n\n'];
      const port = await harness.http((_request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream', 'x-request-id': 'r1' });
        response.flushHeaders();
        const next = (index: number): void => {
          if (index === pieces.length) response.end();
          else response.write(pieces[index], () => setImmediate(next, index + 1));
        };
        next(0);
      });
      const heard = await harness.call(harness.target(port)).over;
      expect(heard.heard).toEqual(['headers', 'data', 'end']);
      expect(heard.status).toBe(200);
      expect(heard.headers['x-request-id']).toBe('r1');
      expect(heard.text).toBe(pieces.join(''));
    });

    it('calls no one back before start() has returned, even when it fails at once', async () => {
      harness = new UpstreamHarness(false);
      const recorder = new Recorder();
      recorder.call = harness.upstream.start(
        harness.target(1),
        { path: '/x', body: REQUEST_BODY, headers: { bad: 'a\nb' } },
        recorder,
      );
      expect(recorder.heard).toEqual([]);
      expect((await recorder.over).heard).toEqual(['connect']);
    });

    it.each([200, 204])('a %i without a body is headers and end', async (status) => {
      const port = await harness.http((_request, response) => response.writeHead(status).end());
      expect((await harness.call(harness.target(port)).over).heard).toEqual(['headers', 'end']);
    });

    it('does not report informational answers', async () => {
      const port = await harness.http((_request, response) => {
        response.writeProcessing();
        response.writeEarlyHints({ link: '</x>; rel=preload' }, () => response.end('ok'));
      });
      const heard = await harness.call(harness.target(port)).over;
      expect([heard.heard, heard.status]).toEqual([['headers', 'data', 'end'], 200]);
    });

    it('delivers a redirect as it is and does not follow it', async () => {
      const urls: (string | undefined)[] = [];
      const port = await harness.http((request, response) => {
        urls.push(request.url);
        response.writeHead(307, { location: '/elsewhere' }).end('moved');
      });
      const heard = await harness.call(harness.target(port)).over;
      expect([heard.status, heard.headers.location, heard.text]).toEqual([307, '/elsewhere', 'moved']);
      expect(urls).toEqual(['/v1/chat/completions']);
    });

    it('uses connections again for calls that follow each other', async () => {
      let connections = 0;
      const server = createServer((_request, response) => response.end('ok'));
      server.on('connection', () => (connections += 1));
      const to = harness.target(await harness.listen(server));
      for (let i = 0; i < 20; i += 1) expect((await harness.call(to).over).text).toBe('ok');
      // undici frees a connection one turn after the end, so a call made at once may open a second.
      expect(connections).toBeLessThanOrEqual(2);
    });

    it('serves hundreds of calls at once', async () => {
      const waiting: ServerResponse[] = [];
      const port = await harness.http((_request, response) => {
        waiting.push(response);
        if (waiting.length === 300) for (const each of waiting) each.end('ok');
      });
      const to = harness.target(port);
      const all = await Promise.all(Array.from({ length: 300 }, () => harness.call(to).over));
      expect(all.every((each) => each.text === 'ok')).toBe(true);
    });
  });

  describe('backpressure', () => {
    const SIZE = 48 * 1024 * 1024;

    it('a paused call leaves the bytes with the server, and none is lost', async () => {
      let bulk: ServerResponse | undefined;
      let isAccepted: boolean | undefined;
      const port = await harness.http((request, response) => {
        if (request.url === '/v1/chat/completions' && !bulk) {
          bulk = response;
          isAccepted = response.write(Buffer.alloc(SIZE, 'x'));
          response.end();
        } else response.end('ok');
      });
      const to = harness.target(port);
      const reader = new Recorder();
      reader.whenData = () => reader.call?.pause();
      harness.call(to, reader);
      await reader.begun;
      const chunksWhenPaused = reader.chunks.length;
      for (let i = 0; i < 20; i += 1) await harness.call(to).over;
      expect(reader.chunks.length).toBe(chunksWhenPaused);
      expect(isAccepted).toBe(false);
      expect(bulk?.socket?.writableLength).toBeGreaterThan(SIZE / 2);

      reader.whenData = () => undefined;
      reader.call?.resume();
      expect((await reader.over).heard.at(-1)).toBe('end');
      expect(reader.chunks.reduce((sum, chunk) => sum + chunk.length, 0)).toBe(SIZE);
    });

    it('a call may be resumed from within another call’s data', async () => {
      const port = await harness.http((_request, response) => response.end(Buffer.alloc(1024 * 1024, 'x')));
      const to = harness.target(port);
      const [first, second] = [new Recorder(), new Recorder()];
      first.whenData = () => first.call?.pause();
      harness.call(to, first);
      await first.begun;
      first.whenData = () => undefined;
      second.whenData = () => first.call?.resume();
      harness.call(to, second);
      await Promise.all([first.over, second.over]);
      for (const { chunks } of [first, second]) {
        expect(chunks.reduce((sum, chunk) => sum + chunk.length, 0)).toBe(1024 * 1024);
      }
    });

    it('a call paused before its headers gets no body until it is resumed', async () => {
      const port = await harness.http((_request, response) => response.end('ok'));
      const to = harness.target(port);
      const reader = harness.call(to);
      reader.call?.pause();
      await harness.call(to).over;
      await harness.call(to).over;
      expect(reader.chunks).toEqual([]);
      reader.call?.resume();
      expect((await reader.over).text).toBe('ok');
    });
  });

  describe('abort', () => {
    it('closes the connection and the reader hears nothing more', async () => {
      const closed = Promise.withResolvers();
      const port = await harness.http((request, response) => {
        request.socket.on('close', () => {
          closed.resolve(undefined);
        });
        const timer = setInterval(() => response.write('x'), 1);
        response.on('close', () => {
          clearInterval(timer);
        });
      });
      const reader = await harness.call(harness.target(port)).begun;
      const before = reader.chunks.length;
      reader.call?.abort();
      reader.call?.abort();
      reader.call?.resume();
      await closed.promise;
      expect([reader.heard, reader.chunks.length]).toEqual([['headers', 'data'], before]);
    });

    it.each(['whenHeaders', 'whenData'] as const)('may be called from within the reader (%s)', async (moment) => {
      const closed = Promise.withResolvers();
      const port = await harness.http((request, response) => {
        request.socket.on('close', () => {
          closed.resolve(undefined);
        });
        response.write('a');
        response.write('b');
      });
      const reader = new Recorder();
      reader[moment] = () => reader.call?.abort();
      harness.call(harness.target(port), reader);
      await closed.promise;
      expect(reader.heard).toEqual(moment === 'whenHeaders' ? ['headers'] : ['headers', 'data']);
      expect(reader.chunks.length).toBe(moment === 'whenHeaders' ? 0 : 1);
    });

    it('before the connection stands sends nothing', async () => {
      let requests = 0;
      const port = await harness.http((_request, response) => {
        requests += 1;
        response.end('ok');
      });
      const aborted = harness.call(harness.target(port));
      aborted.call?.abort();
      await harness.call(harness.target(port)).over;
      expect([requests, aborted.heard]).toEqual([1, []]);
    });
  });
});
