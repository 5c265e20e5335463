import 'reflect-metadata';
import { once } from 'node:events';
import { type ServerResponse } from 'node:http';
import { type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { HandClock, PATIENT, Recorder, UpstreamHarness } from '../../../test/support/upstream-harness';
import type { UpstreamDeadlines, UpstreamTarget } from '../upstream.port';

describe('OpenAiUpstream under faults', () => {
  let harness: UpstreamHarness;
  beforeEach(() => {
    harness = new UpstreamHarness();
  });
  afterEach(() => harness.stop());

  describe('deadlines', () => {
    const impatient = (deadlines: Partial<UpstreamDeadlines>): Partial<UpstreamTarget> => ({
      deadlines: { ...PATIENT, ...deadlines },
    });

    it.each([
      ['nothing', (): void => undefined],
      [
        'only headers',
        (response: ServerResponse): void => {
          response.flushHeaders();
        },
      ],
    ])('an upstream that sends %s misses the first byte', async (_what, answer) => {
      let isClosed = Promise.resolve();
      const port = await harness.http((request, response) => {
        isClosed = once(request.socket, 'close').then(() => undefined);
        answer(response);
      });
      const startedMs = performance.now();
      const heard = await harness.call(harness.target(port, impatient({ firstByteMs: 80 }))).over;
      expect(heard.failure?.kind).toBe('first_byte_timeout');
      expect(performance.now() - startedMs).toBeGreaterThanOrEqual(79);
      await isClosed;
    });

    it('a stream that falls silent ends with idle_timeout after what it had sent', async () => {
      const port = await harness.http((_request, response) => response.write('half'));
      const heard = await harness.call(harness.target(port, impatient({ idleMs: 60 }))).over;
      expect([heard.text, heard.heard]).toEqual(['half', ['headers', 'data', 'idle_timeout']]);
    });

    it('an idle deadline shorter than the first-byte deadline does not hasten the first byte', async () => {
      const blocker = await harness.http(() => undefined);
      let answer: (() => void) | undefined;
      const port = await harness.http((_request, response) => (answer = () => response.end('late')));
      const late = harness.call(harness.target(port, impatient({ idleMs: 20 })));
      await harness.call(harness.target(blocker, { providerId: 'p2', ...impatient({ firstByteMs: 120 }) })).over;
      answer?.();
      expect((await late.over).text).toBe('late');
    });

    it('a stream that drips for ever ends with total_timeout', async () => {
      const port = await harness.http((_request, response) => {
        const timer = setInterval(() => response.write('.'), 5);
        response.on('close', () => {
          clearInterval(timer);
        });
      });
      const startedMs = performance.now();
      const heard = await harness.call(harness.target(port, impatient({ idleMs: 2_000, totalMs: 120 }))).over;
      expect(heard.failure?.kind).toBe('total_timeout');
      expect(heard.text.length).toBeGreaterThan(1);
      expect(performance.now() - startedMs).toBeGreaterThanOrEqual(119);
    });

    it('time for which the reader paused the call does not count as silence, the time around it does', async () => {
      const clock = new HandClock();
      const handHarness = new UpstreamHarness(true, undefined, clock);
      const silent = await harness.http(() => undefined);
      /** Long enough in real time for the call's own timer to have looked several times. */
      const looks = (): Promise<Recorder> =>
        harness.call(harness.target(silent, { providerId: 'p2', ...impatient({ firstByteMs: 120 }) })).over;
      const port = await harness.http((_request, response) => response.write('a'));
      const reader = handHarness.call(harness.target(port, impatient({ idleMs: 20, totalMs: 10_000_000 })));
      await reader.begun;
      clock.ms += 15;
      reader.call?.pause();
      clock.ms += 1_000_000;
      await looks();
      reader.call?.resume();
      clock.ms += 4;
      await looks();
      expect(reader.heard).toEqual(['headers', 'data']);
      clock.ms += 1;
      expect((await reader.over).failure?.kind).toBe('idle_timeout');
      await handHarness.stop();
    });

    it('counts silence again after the reader resumed', async () => {
      const port = await harness.http((_request, response) => response.write('a'));
      const reader = harness.call(harness.target(port, impatient({ idleMs: 50 })));
      await reader.begun;
      reader.call?.pause();
      reader.call?.resume();
      expect((await reader.over).failure?.kind).toBe('idle_timeout');
    });

    it('an answer that came while this process was stalled is not taken for silence', async () => {
      const port = await harness.http((_request, response) => {
        response.end('in time');
        setImmediate(() => {
          const untilMs = performance.now() + 120;
          while (performance.now() < untilMs);
        });
      });
      expect((await harness.call(harness.target(port, impatient({ firstByteMs: 60 }))).over).text).toBe('in time');
    });

    it('a connection that does not come about in time is a connect failure, and nothing is sent later', async () => {
      const lookups: (() => void)[] = [];
      const looksUp = Promise.withResolvers();
      let requests = 0;
      harness = new UpstreamHarness(true, (_name, done) => {
        lookups.push(() => {
          done(null, [{ address: '127.0.0.1', family: 4 }]);
        });
        if (lookups.length === 2) looksUp.resolve(undefined);
      });
      const port = await harness.http((_request, response) => {
        requests += 1;
        response.end('ok');
      });
      const to = harness.target(port, { baseUrl: `http://slow.example:${port}/v1`, ...impatient({ firstByteMs: 50 }) });
      expect((await harness.call(to).over).heard).toEqual(['connect']);
      const next = harness.call(harness.target(port, { baseUrl: to.baseUrl }));
      await looksUp.promise;
      for (const answer of lookups) answer();
      expect((await next.over).text).toBe('ok');
      await harness.call(harness.target(port, { baseUrl: to.baseUrl })).over;
      expect(requests).toBe(2);
    });
  });

  describe('faults', () => {
    it('a refused connection is a connect failure', async () => {
      const port = await harness.http(() => undefined);
      await harness.stopServers();
      expect((await harness.call(harness.target(port)).over).heard).toEqual(['connect']);
    });

    it('a name that does not resolve is a connect failure', async () => {
      const heard = await harness.call(harness.target(1, { baseUrl: 'http://nowhere.example/v1' })).over;
      expect(heard.heard).toEqual(['connect']);
    });

    it('a server that speaks no TLS is a connect failure', async () => {
      const port = await harness.raw('not tls');
      expect(
        (await harness.call(harness.target(port, { baseUrl: `https://127.0.0.1:${port}/v1` })).over).heard,
      ).toEqual(['connect']);
    });

    it('a private address is blocked without a connection where only public ones are allowed', async () => {
      harness = new UpstreamHarness(false, (_name, done) => {
        done(null, [{ address: '127.0.0.1', family: 4 }]);
      });
      let connections = 0;
      const port = await harness.tcp(() => (connections += 1));
      expect((await harness.call(harness.target(port)).over).heard).toEqual(['blocked_address']);
      const byName = harness.target(port, { baseUrl: `http://rebound.example:${port}`, providerId: 'p2' });
      expect((await harness.call(byName).over).heard).toEqual(['blocked_address']);
      expect(connections).toBe(0);
    });

    it.each([
      ['a reset before the headers', (socket: Socket) => socket.resetAndDestroy()],
      ['a close before the headers', (socket: Socket) => socket.end()],
      ['an answer that is not HTTP', (socket: Socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')],
      [
        'an unasked-for upgrade',
        (socket: Socket) => socket.end('HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
      ],
      ['headers without end', (socket: Socket) => socket.end(`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(70_000)}\r\n\r\n`)],
    ])('%s is a reset, and no headers are heard', async (_what, answer) => {
      const port = await harness.tcp((socket) => socket.once('data', () => answer(socket)));
      expect((await harness.call(harness.target(port)).over).heard).toEqual(['reset']);
    });

    it.each([
      ['a chunked body cut short', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n'],
      ['a body shorter than its content-length', 'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf'],
    ])('%s is a reset after what had come', async (_what, answer) => {
      const heard = await harness.call(harness.target(await harness.raw(answer))).over;
      expect([heard.text, heard.heard]).toEqual(['half', ['headers', 'data', 'reset']]);
    });

    it('a reset mid-body is a reset after what had come', async () => {
      const port = await harness.http((_request, response) => {
        response.write('half', () => setImmediate(() => response.socket?.resetAndDestroy()));
      });
      const heard = await harness.call(harness.target(port)).over;
      expect(heard.heard.at(-1)).toBe('reset');
      expect(heard.heard.filter((each) => each === 'end')).toEqual([]);
    });

    it('a compressed answer is refused, since nobody could read usage from it', async () => {
      const port = await harness.http((_request, response) => {
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('{}'));
      });
      expect((await harness.call(harness.target(port)).over).heard).toEqual(['reset']);
    });

    it('a reader that throws loses its call and nobody else’s', async () => {
      const port = await harness.http((_request, response) => response.end('ok'));
      const reader = new Recorder();
      reader.whenData = () => {
        throw new Error('a bug');
      };
      expect((await harness.call(harness.target(port), reader).over).heard).toEqual(['headers', 'data', 'reset']);
      expect((await harness.call(harness.target(port)).over).text).toBe('ok');
    });

    it('never names the provider’s key in a failure', async () => {
      const port = await harness.http((_request, response) => response.socket?.destroy());
      const failures = await Promise.all([
        harness.call(harness.target(port)).over,
        harness.call(harness.target(port, { apiKey: 'sk-secret\nof-the-provider' })).over,
        harness.call(harness.target(port, { baseUrl: `https://127.0.0.1:${port}/v1` })).over,
      ]);
      for (const { failure } of failures) expect(failure?.message).not.toContain('secret');
    });
  });
});
