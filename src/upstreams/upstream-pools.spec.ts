import 'reflect-metadata';
import { PATIENT, UpstreamHarness } from '../../test/support/upstream-harness';

describe('UpstreamPools', () => {
  let harness: UpstreamHarness;
  beforeEach(() => {
    harness = new UpstreamHarness();
  });
  afterEach(() => harness.stop());

  describe('pools', () => {
    it('a provider that moved is called at its new place, while its running calls end at the old', async () => {
      let finish: (() => void) | undefined;
      const oldClosed = Promise.withResolvers();
      const oldPort = await harness.http((request, response) => {
        request.socket.on('close', () => {
          oldClosed.resolve(undefined);
        });
        response.write('old ');
        finish = () => response.end('answer');
      });
      const newPort = await harness.http((_request, response) => response.end('new'));
      const running = await harness.call(harness.target(oldPort)).begun;
      expect((await harness.call(harness.target(newPort)).over).text).toBe('new');
      finish?.();
      expect((await running.over).text).toBe('old answer');
      await oldClosed.promise;
    });

    it('are bounded, and a call that ended makes room', () => {
      const leases = Array.from({ length: 256 * 64 }, () => harness.pools.acquire('p1', 'http://127.0.0.1:1'));
      expect(leases.every((lease) => lease !== undefined)).toBe(true);
      expect(harness.pools.acquire('p1', 'http://127.0.0.1:1')).toBeUndefined();
      const [lease] = leases;
      if (lease) lease.inFlight -= 1;
      expect(harness.pools.acquire('p1', 'http://127.0.0.1:1')).toBe(lease);
    });

    it('a call beyond the bound fails as a connect failure, after start() has returned', async () => {
      const to = harness.target(1);
      while (harness.pools.acquire(to.providerId, 'http://127.0.0.1:1'));
      const reader = harness.call(to);
      expect(reader.heard).toEqual([]);
      expect((await reader.over).heard).toEqual(['connect']);
    });

    it('every way a call can end gives its place back', async () => {
      const ports = [
        await harness.http((_request, response) => response.end('ok')),
        await harness.http((_request, response) => response.socket?.destroy()),
        await harness.http(() => undefined),
      ];
      for (const [index, port] of ports.entries()) {
        const origin = `http://127.0.0.1:${port}`;
        const to = harness.target(port, { providerId: `p${index}`, deadlines: { ...PATIENT, firstByteMs: 40 } });
        await harness.call(to).over;
        harness.call(to).call?.abort();
        expect(harness.pools.acquire(to.providerId, origin)?.inFlight).toBe(1);
      }
    });

    it('shutdown ends what is still open and refuses new calls', async () => {
      const port = await harness.http((_request, response) => response.write('a'));
      const running = await harness.call(harness.target(port)).begun;
      await harness.pools.onApplicationShutdown();
      expect((await running.over).failure?.kind).toBe('reset');
      expect((await harness.call(harness.target(port)).over).failure?.kind).toBe('connect');
    });
  });
});
