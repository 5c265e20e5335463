import { NO_TOKENS } from '../../catalogue/price';
import { pumpHarness } from '../../../test/support/pump-harness';
import { tokensSoFar } from './tokens-so-far';

const PROMPT = { body: {}, promptTextBytes: 10 };
const USAGE = { ...NO_TOKENS, inputUncached: 7, output: 3, reasoning: 2 };

describe('the tokens of a stream so far', () => {
  it('are none before its first frame', () => {
    expect(tokensSoFar({ usage: undefined, isUsageFinal: false, chunks: 0 }, PROMPT, 5)).toBeUndefined();
  });

  it('are one a frame and the estimated prompt while the provider reports nothing', () => {
    expect(tokensSoFar({ usage: undefined, isUsageFinal: false, chunks: 9 }, PROMPT, 5)).toEqual({
      tokens: { ...NO_TOKENS, inputUncached: 4, output: 9, image: 5 },
      method: 'estimated',
    });
  });

  it('are what the provider reports, and at least one a frame until that is final', () => {
    const of = (chunks: number, isUsageFinal = false): unknown =>
      tokensSoFar({ usage: USAGE, isUsageFinal, chunks }, PROMPT, 5);
    expect(of(5)).toEqual({ tokens: USAGE, method: 'usage' });
    expect(of(6)).toEqual({ tokens: { ...USAGE, output: 4 }, method: 'estimated' });
    expect(of(6, true)).toEqual({ tokens: USAGE, method: 'usage' });
  });

  it.each([
    ['drain', 3],
    ['cut', 2],
  ] as const)(
    'count what was delivered; after the client left, under %s, %i frames',
    async (disconnectPolicy, frames) => {
      const { pump, client, openGate } = pumpHarness({ gate: 'closed', disconnectPolicy });
      const frame = Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n');
      pump.onData(Buffer.concat([frame, frame]));
      expect(pump.progress.chunks).toBe(0);
      openGate();
      await Promise.resolve();
      expect(pump.progress).toEqual({ usage: undefined, isUsageFinal: false, chunks: 2 });
      client.leave();
      pump.onData(frame);
      expect(pump.progress.chunks).toBe(frames);
      pump.cut();
    },
  );
});
