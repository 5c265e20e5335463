import { pumpHarness, type PumpHarness } from './pump-harness';

/** An upstream's frames, and a pump that is fed them. */
export const content = (text: string, more: object = {}): string =>
  JSON.stringify({ model: 'theirs', choices: [{ index: 0, delta: { content: text }, finish_reason: null }], ...more });
export const STOP = JSON.stringify({ model: 'theirs', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
export const USAGE = { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 };
export const USAGE_ONLY = JSON.stringify({ model: 'theirs', choices: [], usage: USAGE });
export const DONE = 'data: [DONE]\n\n';
export const RESET = { kind: 'reset', message: 'socket hang up' } as const;

export const frame = (data: string): Buffer => Buffer.from(`data: ${data}\n\n`);

export function feed({ pump }: PumpHarness, ...events: string[]): void {
  for (const event of events) pump.onData(event.startsWith('data:') ? Buffer.from(event) : frame(event));
}

/** Whether the stream has ended, asked after all microtasks that are due. */
export async function hasEnded({ pump }: PumpHarness): Promise<boolean> {
  let ended = false;
  void pump.ended.then(() => (ended = true));
  await new Promise((resolve) => {
    process.nextTick(resolve);
  });
  return ended;
}

export async function opened(options: Parameters<typeof pumpHarness>[0] = {}): Promise<PumpHarness> {
  const harness = pumpHarness(options);
  await new Promise((resolve) => {
    process.nextTick(resolve);
  });
  return harness;
}
