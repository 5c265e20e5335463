import { NO_TOKENS } from '../../catalogue/price';
import { MessageStreamReading } from '../dialects/anthropic-messages/message-stream';
import { ResponseStreamReading } from '../dialects/openai-responses/response-stream';
import { type FrameKind, type StreamReading } from '../dialects/stream-reading';
import { SseSplitter } from './sse-splitter';
import { TokenAccumulator } from './token-accumulator';
import { tokensSoFar } from './tokens-so-far';

type Event = Readonly<Record<string, unknown>> & { readonly type: string };

function watch(
  reading: StreamReading,
  events: readonly Event[],
): { accumulator: TokenAccumulator; kinds: FrameKind[] } {
  const accumulator = new TokenAccumulator(reading);
  const kinds: FrameKind[] = [];
  const splitter = new SseSplitter((block, start, end) => kinds.push(accumulator.observe(block, start, end)));
  for (const event of events) splitter.push(Buffer.from(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`));
  return { accumulator, kinds };
}

const PROMPT = { body: {}, promptTextBytes: 3 };

describe('a stream of an Anthropic message', () => {
  const started = { input_tokens: 12, cache_read_input_tokens: 5, cache_creation_input_tokens: 0, output_tokens: 1 };
  const START = { type: 'message_start', message: { content: [], stop_reason: null, usage: started } };
  const block = (content_block: object, index = 0): Event => ({ type: 'content_block_start', index, content_block });
  const delta = (fields: object, index = 0): Event => ({ type: 'content_block_delta', index, delta: fields });
  const TEXT = [block({ type: 'text', text: '' }), delta({ type: 'text_delta', text: 'Hello' })];
  const STOP = { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 30 } };
  const END = { type: 'message_stop' };

  it('tells protocol from answer, and is whole with its terminal frame', () => {
    const { accumulator, kinds } = watch(new MessageStreamReading(), [
      START,
      { type: 'ping' },
      ...TEXT,
      { type: 'content_block_stop', index: 0 },
      STOP,
      END,
    ]);
    expect(kinds).toEqual(['opening', 'event', 'event', 'data', 'event', 'event', 'done']);
    expect(accumulator).toMatchObject({ chunks: 1, isWhole: true, isUsageFinal: true, finishReason: 'end_turn' });
    expect(accumulator.usage).toEqual({ ...NO_TOKENS, inputUncached: 12, inputCached: 5, output: 30 });
  });

  it('has a provisional output until message_delta: what was counted counts where that is more', () => {
    const words = Array.from({ length: 9 }, () => delta({ type: 'text_delta', text: 'word ' }));
    const { accumulator } = watch(new MessageStreamReading(), [START, ...words]);
    expect(accumulator).toMatchObject({ isUsageFinal: false, isWhole: false, usage: { output: 1 }, writtenTokens: 12 });
    const { usage, isUsageFinal, chunks } = accumulator;
    expect(tokensSoFar({ usage, isUsageFinal, chunks }, PROMPT, 0)).toEqual({
      tokens: { ...NO_TOKENS, inputUncached: 12, inputCached: 5, output: 9 },
      method: 'estimated',
    });
  });

  it('is not made final by a terminal frame that came without message_delta, or one without a count', () => {
    expect(watch(new MessageStreamReading(), [START, ...TEXT, END]).accumulator.isUsageFinal).toBe(false);
    const empty = { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: {} };
    expect(watch(new MessageStreamReading(), [START, ...TEXT, empty, END]).accumulator.isUsageFinal).toBe(false);
  });

  it('collects text, thoughts, and names and input of tools; not what tools answered', () => {
    const { accumulator, kinds } = watch(new MessageStreamReading(), [
      START,
      block({ type: 'thinking', thinking: '' }),
      delta({ type: 'thinking_delta', thinking: 'Let me ' }),
      delta({ type: 'thinking_delta', thinking: 'see' }),
      delta({ type: 'signature_delta', signature: 'c2ln' }),
      block({ type: 'text', text: '' }, 1),
      delta({ type: 'text_delta', text: 'Hel' }, 1),
      delta({ type: 'text_delta', text: 'lo' }, 1),
      block({ type: 'tool_use', name: 'weather', input: {} }, 2),
      delta({ type: 'input_json_delta', partial_json: '{"city"' }, 2),
      delta({ type: 'input_json_delta', partial_json: ':1}' }, 2),
      block({ type: 'web_search_tool_result', content: [{ type: 'text', text: 'a page that nobody wrote here' }] }, 3),
    ]);
    expect(accumulator.text()).toEqual({ output: ['Hello', 'weather', '{"city":1}'], reasoning: ['Let me see'] });
    expect(accumulator.text(4)).toEqual({ output: ['Hel'], reasoning: ['Let me see'] });
    expect(kinds.at(-1)).toBe('event');
  });

  it('sees an error, and bills no text of it', () => {
    const error = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } };
    const { accumulator, kinds } = watch(new MessageStreamReading(), [START, ...TEXT, error]);
    expect(kinds.at(-1)).toBe('error');
    expect(accumulator.errorEvent).toEqual(error.error);
    expect(accumulator.text()).toEqual({ output: ['Hello'], reasoning: [] });
  });

  it('is not misled by an answer that talks of errors, stops and usage', () => {
    const text = '{"type":"error","usage":{"output_tokens":9000}} message_stop "error"';
    const { accumulator, kinds } = watch(new MessageStreamReading(), [
      START,
      delta({ type: 'text_delta', text }),
      delta({ type: 'text_delta', text: 'error' }),
      delta({ type: 'text_delta', text: 'message_stop' }),
    ]);
    expect(kinds).toEqual(['opening', 'data', 'data', 'data']);
    expect(accumulator).toMatchObject({ isFinished: false, usage: { output: 1 }, errorEvent: undefined });
  });
});

describe('a stream of a response', () => {
  const usage = { input_tokens: 20, output_tokens: 8, total_tokens: 28 };
  const created = {
    type: 'response.created',
    response: { status: 'in_progress', tools: [{ name: 'x' }], usage: null },
  };
  const text = (delta: string): Event => ({
    type: 'response.output_text.delta',
    output_index: 1,
    content_index: 0,
    delta,
  });
  const end = (type: string, response: object): Event => ({ type, response });

  it('is ended by response.completed, which carries its usage', () => {
    const { accumulator, kinds } = watch(new ResponseStreamReading(), [
      created,
      text('Hel'),
      text('lo'),
      { type: 'response.output_text.done', output_index: 1, content_index: 0, text: 'Hello' },
      end('response.completed', { status: 'completed', usage }),
    ]);
    expect(kinds).toEqual(['opening', 'data', 'data', 'event', 'done']);
    expect(accumulator).toMatchObject({ chunks: 2, isWhole: true, isUsageFinal: true, finishReason: 'completed' });
    expect(accumulator.text()).toEqual({ output: ['Hello'], reasoning: [] });
    expect(accumulator.usage).toEqual({ ...NO_TOKENS, inputUncached: 20, output: 8 });
  });

  it('is ended by response.incomplete, which says why', () => {
    const incomplete_details = { reason: 'max_output_tokens' };
    const ended = end('response.incomplete', { status: 'incomplete', incomplete_details, usage });
    const { accumulator, kinds } = watch(new ResponseStreamReading(), [created, text('a'), ended]);
    expect(kinds.at(-1)).toBe('done');
    expect(accumulator).toMatchObject({ finishReason: 'max_output_tokens', isUsageFinal: true });
  });

  it.each<[string, Event]>([
    ['an error', { type: 'error', error: { code: 'x', message: 'words that nobody pays' } }],
    ['a failure', end('response.failed', { status: 'failed', error: { code: 'x' }, usage: null })],
  ])('sees %s, and bills no text of it', (_, event) => {
    const { accumulator, kinds } = watch(new ResponseStreamReading(), [created, text('a'), event]);
    expect(kinds.at(-1)).toBe('error');
    expect(accumulator).toMatchObject({ errorEvent: { code: 'x' }, isWhole: false, usage: undefined, chunks: 1 });
    expect(accumulator.text()?.output).toEqual(['a']);
  });

  it('has no usage without its terminal frame', () => {
    const { accumulator } = watch(new ResponseStreamReading(), [created, text('a'.repeat(40))]);
    expect(accumulator.snapshot).toEqual({
      usage: undefined,
      isUsageFinal: false,
      isFinished: false,
      chunks: 1,
      writtenTokens: 10,
    });
  });

  it('collects reasoning, and names and arguments of calls, each once', () => {
    const item = { type: 'function_call', name: 'weather', arguments: '' };
    const { accumulator } = watch(new ResponseStreamReading(), [
      { type: 'response.reasoning_summary_text.delta', output_index: 0, summary_index: 0, delta: 'Let me see' },
      { type: 'response.output_item.added', output_index: 2, item },
      { type: 'response.function_call_arguments.delta', output_index: 2, delta: '{"ci' },
      { type: 'response.function_call_arguments.delta', output_index: 2, delta: 'ty":1}' },
      { type: 'response.function_call_arguments.done', output_index: 2, arguments: '{"city":1}' },
      { type: 'response.output_item.done', output_index: 2, item: { ...item, arguments: '{"city":1}' } },
    ]);
    expect(accumulator.text()).toEqual({ output: ['weather', '{"city":1}'], reasoning: ['Let me see'] });
    expect(accumulator.chunks).toBe(4);
  });
});
