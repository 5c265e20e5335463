import { refuse } from '../../kernel/errors';
import { content, DONE, feed, hasEnded, opened, RESET, STOP, USAGE_ONLY } from '../../../test/support/chat-frames';
import { pumpHarness, ScriptedClient } from '../../../test/support/pump-harness';
import { type StreamPumpOptions } from './stream-pump';

describe('a client that hangs up', () => {
  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'performance'] });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  const drain: Partial<Omit<StreamPumpOptions, 'client'>> = { disconnectPolicy: 'drain', drainMs: 30_000 };

  it('is drained: the answer is read to its end and billed by what the upstream reports', async () => {
    const harness = await opened(drain);
    feed(harness, content('a'));
    harness.client.leave();
    feed(harness, content('b'), STOP, USAGE_ONLY, DONE);
    const { reason, answer, deliveredChunks } = await harness.pump.ended;
    expect([reason, deliveredChunks, answer.chunks]).toEqual(['client_left_drained', 1, 3]);
    expect(answer).toMatchObject({ isUsageFinal: true, usage: { output: 2 } });
    expect(harness.client.writes).toHaveLength(1);
    expect(harness.pump.finish()).toBe(false);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('is drained for so long, then what was read is billed', async () => {
    const harness = await opened(drain);
    feed(harness, content('a'));
    harness.client.leave();
    feed(harness, content('b'));
    jest.advanceTimersByTime(29_999);
    expect(await hasEnded(harness)).toBe(false);
    jest.advanceTimersByTime(1);
    const { reason, answer } = await harness.pump.ended;
    expect([reason, answer.chunks, answer.isUsageFinal]).toEqual(['client_left', 2, false]);
    expect(answer.text()?.output).toEqual(['ab']);
    expect(harness.call.asked).toEqual(['abort']);
  });

  it('does not leave a paused upstream paused', async () => {
    const harness = await opened(drain);
    harness.client.reads = false;
    feed(harness, content('a'));
    harness.client.leave();
    expect(harness.call.asked).toEqual(['pause', 'resume']);
  });

  it('is not followed by an error of the upstream: the bill is what was read', async () => {
    const harness = await opened(drain);
    harness.client.leave();
    feed(harness, content('a'));
    harness.pump.onFailure(RESET);
    const { reason, answer } = await harness.pump.ended;
    expect([reason, answer.chunks]).toEqual(['client_left', 1]);
    expect(harness.pump.fail(refuse('UPSTREAM_ERROR'))).toBe(false);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('is cut off by policy: the upstream is aborted, what was delivered is billed', async () => {
    const harness = await opened({ disconnectPolicy: 'cut' });
    feed(harness, content('a'));
    harness.client.leave();
    feed(harness, content('b'));
    const { reason, answer } = await harness.pump.ended;
    expect([reason, answer.chunks]).toEqual(['client_left', 1]);
    expect(harness.call.asked).toEqual(['abort']);
  });

  it('before the gate opened has received nothing', async () => {
    const harness = pumpHarness({ gate: 'closed', disconnectPolicy: 'cut' });
    feed(harness, content('a'));
    harness.client.leave();
    expect(await hasEnded(harness)).toBe(false);
    harness.openGate();
    const { reason, answer, deliveredChunks } = await harness.pump.ended;
    expect([reason, answer.chunks, deliveredChunks, harness.client.received]).toEqual(['client_left', 0, 0, '']);
  });

  it('may have left before the stream began', async () => {
    const client = new ScriptedClient();
    client.leave();
    const harness = await opened({ client, disconnectPolicy: 'cut' });
    expect((await harness.pump.ended).reason).toBe('client_left');
    expect(harness.call.asked).toEqual(['abort']);
  });

  it('after the answer was complete changes nothing but its delivery', async () => {
    const harness = await opened(drain);
    feed(harness, content('a'), STOP, DONE);
    await harness.pump.ended;
    harness.client.leave();
    expect(harness.pump.finish()).toBe(false);
    expect(jest.getTimerCount()).toBe(0);
  });
});
