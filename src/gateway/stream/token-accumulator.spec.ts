import { NO_TOKENS } from '../../catalogue/price';
import { ChatStreamReading } from '../dialects/openai-chat/chat-stream';
import { type FrameKind } from '../dialects/stream-reading';
import { MAX_KEPT_BYTES } from './kept-frames';
import { SseSplitter } from './sse-splitter';
import { TokenAccumulator } from './token-accumulator';

function observe(frames: readonly string[], choices = 1): { accumulator: TokenAccumulator; kinds: FrameKind[] } {
  const accumulator = new TokenAccumulator(new ChatStreamReading(choices));
  const kinds: FrameKind[] = [];
  const splitter = new SseSplitter((block, start, end) => kinds.push(accumulator.observe(block, start, end)));
  // All in one block: the frames of a block share the searches.
  splitter.push(
    Buffer.from(frames.map((frame) => (/^(data|event|:)/.test(frame) ? frame : `data: ${frame}`) + '\n\n').join('')),
  );
  return { accumulator, kinds };
}

const content = (text: string, more: object = {}): string =>
  JSON.stringify({ choices: [{ index: 0, delta: { content: text }, finish_reason: null }], usage: null, ...more });
const finish = (reason: string, index = 0, more: object = {}): string =>
  JSON.stringify({ choices: [{ index, delta: {}, finish_reason: reason }], ...more });
const usage = (prompt: number, completion: number): object => ({
  usage: { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion },
});

describe('TokenAccumulator', () => {
  it('tells frames apart', () => {
    const { accumulator, kinds } = observe([
      ': waiting',
      content('a'),
      finish('stop', 0, usage(3, 1)),
      JSON.stringify({ choices: [], ...usage(3, 1) }),
      'data: [DONE]',
    ]);
    expect(kinds).toEqual(['empty', 'data', 'data_with_usage', 'usage_only', 'done']);
    expect(accumulator).toMatchObject({ chunks: 2, finishReason: 'stop', isFinished: true });
  });

  it('takes the last usage that is credible; null and garbage change nothing', () => {
    const last = { ...NO_TOKENS, inputUncached: 3, output: 9 };
    const { accumulator, kinds } = observe([
      content('a', usage(3, 1)),
      content('b', usage(3, 9)),
      content('c'),
      JSON.stringify({ choices: [], usage: { prompt_tokens: -1, completion_tokens: 5 } }),
      JSON.stringify({ choices: [], usage: null }),
    ]);
    expect(accumulator.usage).toEqual(last);
    expect(kinds).toEqual(['data_with_usage', 'data_with_usage', 'data', 'usage_only', 'data']);
  });

  it('tells zero from missing', () => {
    expect(observe([content('a'), finish('stop')]).accumulator.usage).toBeUndefined();
    expect(observe([finish('stop', 0, usage(0, 0))]).accumulator.usage).toEqual(NO_TOKENS);
  });

  it('finds usage and finish reason in JSON with spaces', () => {
    const { accumulator } = observe([
      '{"choices": [{"index": 0, "delta": {}, "finish_reason" : "length"}], "usage" : {"prompt_tokens": 1, "completion_tokens": 2}}',
    ]);
    expect(accumulator).toMatchObject({ finishReason: 'length', usage: { inputUncached: 1, output: 2 } });
  });

  it('is not misled by an answer that talks about usage, errors and [DONE]', () => {
    const { accumulator, kinds } = observe([
      content('"usage":{"prompt_tokens":1,"completion_tokens":2}'),
      content('usage'),
      content('error'),
      content('"error":{"message":"x"}'),
      content('[DONE]'),
      JSON.stringify({ choices: [{ index: 0, delta: { usage: { prompt_tokens: 1, completion_tokens: 1 } } }] }),
    ]);
    expect(kinds).toEqual(Array(6).fill('data'));
    expect(accumulator).toMatchObject({ usage: undefined, errorEvent: undefined, chunks: 6 });
  });

  it('is finished when every choice is', () => {
    expect(observe([finish('stop', 0), finish('stop', 0)], 2).accumulator.isFinished).toBe(false);
    expect(observe([finish('stop', 1), finish('length', 0)], 2).accumulator.isFinished).toBe(true);
    expect(observe([content('a')]).accumulator.isFinished).toBe(false);
  });

  it.each<[string, string]>([
    ['an error member', '{"error":{"message":"overloaded","code":503}}'],
    ['an error text', '{"error":"overloaded"}'],
    ['an error beside choices', finish('error', 0, { error: { message: 'x' } })],
    ['an error object', '{"object":"error","message":"x"}'],
    ['an error event', 'event: error\ndata: {"message":"x"}'],
    ['an error event without JSON', 'event: error\ndata: overloaded'],
  ])('sees %s, and bills no text of it', (_, frame) => {
    const { accumulator, kinds } = observe([content('Hello', { error: null }), frame]);
    expect(kinds).toEqual(['data', 'error']);
    expect(accumulator.errorEvent).toBeDefined();
    expect(accumulator.chunks).toBe(1);
    expect(accumulator.text()).toEqual({ output: ['Hello'], reasoning: [] });
  });

  it('collects every text a model writes, pieces of one text joined', () => {
    const delta = (written: object, index = 0): string => JSON.stringify({ choices: [{ index, delta: written }] });
    const { accumulator } = observe([
      delta({ role: 'assistant', reasoning_content: 'Let me ' }),
      delta({ reasoning: 'see' }),
      delta({ content: 'Hel' }),
      delta({ content: 'lo' }),
      delta({ content: 'Other' }, 1),
      delta({ refusal: 'No.' }),
      delta({ tool_calls: [{ index: 0, id: 'a', function: { name: 'weather', arguments: '{"ci' } }] }),
      delta({ tool_calls: [{ index: 0, function: { arguments: 'ty":1}' } }] }),
      delta({ tool_calls: [{ index: 1, function: { name: 'time', arguments: '{}' } }] }),
      delta({ function_call: { name: 'old', arguments: '{"x":1}' } }),
    ]);
    expect(accumulator.text()).toEqual({
      reasoning: ['Let me see'],
      output: ['Hello', 'Other', 'No.', 'weather', '{"city":1}', 'time', '{}', 'old', '{"x":1}'],
    });
    expect(accumulator.text(4)).toEqual({ reasoning: ['Let me see'], output: ['Hello'] });
  });

  it('keeps frames up to its bound, then none: text of a part would be billed as the whole', () => {
    const frame = content('x'.repeat(1000));
    const size = Buffer.byteLength(`data: ${frame}\n\n`);
    const most = Math.floor(MAX_KEPT_BYTES / size);
    const kept = observe(Array<string>(most).fill(frame)).accumulator;
    expect(kept.text()?.output.join('')).toHaveLength(most * 1000);
    const dropped = observe(Array<string>(most + 1).fill(frame)).accumulator;
    expect(dropped.text()).toBeUndefined();
    expect(dropped.chunks).toBe(most + 1);
  });

  it('counts what is written without parsing: the most of frames, bytes of text / 4, and what was reported', () => {
    const role = JSON.stringify({ choices: [{ index: 0, delta: { role: 'assistant', content: '' } }] });
    const written = (...frames: string[]): number => observe([role, ...frames]).accumulator.writtenTokens;
    expect(written()).toBe(0);
    expect(written(content('a'), content('b'))).toBe(2);
    expect(written(content('x'.repeat(40)), content('b'))).toBe(11);
    expect(written(content('a', usage(3, 50)), content('b'))).toBe(50);
    expect(written(content('a'), finish('stop'), JSON.stringify({ choices: [], ...usage(3, 1) }))).toBe(1);
    const call = { index: 0, function: { name: 'f', arguments: '{"city":"Paris"}' } };
    expect(written(JSON.stringify({ choices: [{ index: 0, delta: { tool_calls: [call] } }] }))).toBe(5);
    const thought = { reasoning: 'x'.repeat(40), reasoning_content: 'x'.repeat(40) };
    expect(written(JSON.stringify({ choices: [{ index: 0, delta: thought }] }))).toBe(10);
  });

  it('tells what a frame would bring before it is observed, and nothing for one that brings no text', () => {
    const { accumulator } = observe([content('a'), content('b')]);
    const foretold = (frame: string): number => {
      const block = Buffer.from(`data: ${frame}\n\n`);
      return accumulator.tokensWith(block, 0, block.length);
    };
    expect([content('c'), content('x'.repeat(80)), finish('stop'), '[DONE]'].map(foretold)).toEqual([2, 21, 0, 0]);
    expect(accumulator.tokensWith(Buffer.from(': waiting\n\n'), 0, 11)).toBe(0);
    expect(foretold(JSON.stringify({ choices: [], ...usage(3, 1_000) }))).toBe(0);
    expect(accumulator).toMatchObject({ chunks: 2, writtenTokens: 1, usage: undefined });
  });

  it('reads a usage in a frame whose last bracket is missing, and none whose number may have been cut', () => {
    const last = JSON.stringify({ choices: [], ...usage(3, 50) });
    expect(observe([finish('stop'), last.slice(0, -1)]).accumulator.usage).toMatchObject({ output: 50 });
    expect(observe([finish('stop'), last.replace(/,"total.*$/, '')]).accumulator.usage).toBeUndefined();
  });
});
