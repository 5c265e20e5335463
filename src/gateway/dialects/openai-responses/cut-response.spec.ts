import { isObject, type JsonObject } from '../../../kernel/json-object';
import { NO_TOKENS } from '../../../catalogue/price';
import { openAiSchemas } from '../../../../test/support/openai-schemas';
import { recordedCalls } from '../../../../test/support/recorded-streams';
import { cutResponse } from './cut-response';

const BILLED = { ...NO_TOKENS, inputUncached: 8, inputCached: 2, output: 90, reasoning: 10 };

const response = { id: 'resp_1', object: 'response', model: 'm', status: 'in_progress', output: [], usage: null };
const at = (output_index: number, more: object = {}): object => ({
  item_id: `i${output_index}`,
  output_index,
  ...more,
});
const message = { id: 'i0', type: 'message', role: 'assistant', status: 'in_progress', content: [] };
const part = { type: 'output_text', text: '', annotations: [] };

/** With the numbers that they are sent with. */
function numbered(...frames: readonly object[]): JsonObject[] {
  return frames.map((frame, sequence_number) => ({ ...frame, sequence_number }));
}

const OPENING = [
  { type: 'response.created', response },
  { type: 'response.output_item.added', output_index: 0, item: message },
  { type: 'response.content_part.added', ...at(0, { content_index: 0, part }) },
  { type: 'response.output_text.delta', ...at(0, { content_index: 0, delta: 'Hel' }) },
  { type: 'response.output_text.delta', ...at(0, { content_index: 0, delta: 'lo' }) },
];

describe('the end of a response that is cut', () => {
  it('ends the text, the part and the message, and tells it all once more with the usage that was billed', () => {
    const { ends, terminal } = cutResponse(numbered(...OPENING), BILLED);
    const written = { ...part, text: 'Hello' };
    const item = { ...message, status: 'incomplete', content: [written] };
    expect(ends).toEqual([
      {
        type: 'response.output_text.done',
        ...at(0, { content_index: 0, text: 'Hello', logprobs: [] }),
        sequence_number: 5,
      },
      { type: 'response.content_part.done', ...at(0, { content_index: 0, part: written }), sequence_number: 6 },
      { type: 'response.output_item.done', output_index: 0, item, sequence_number: 7 },
    ]);
    expect(terminal).toEqual({
      type: 'response.incomplete',
      sequence_number: 8,
      response: {
        ...response,
        status: 'incomplete',
        incomplete_details: { reason: 'max_output_tokens' },
        output: [item],
        usage: {
          input_tokens: 10,
          input_tokens_details: { cached_tokens: 2, cache_write_tokens: 0 },
          output_tokens: 100,
          output_tokens_details: { reasoning_tokens: 10 },
          total_tokens: 110,
        },
      },
    });
  });

  it('leaves what has ended as its provider told it', () => {
    const item = { ...message, status: 'completed', content: [{ ...part, text: 'Hello', logprobs: ['kept'] }] };
    const done = { type: 'response.output_item.done', output_index: 0, item };
    const call = { id: 'i1', type: 'function_call', call_id: 'c', name: 'f', arguments: '', status: 'in_progress' };
    const { ends, terminal } = cutResponse(
      numbered(
        ...OPENING,
        done,
        { type: 'response.output_item.added', output_index: 1, item: call },
        { type: 'response.function_call_arguments.delta', ...at(1, { delta: '{"a":' }) },
      ),
      undefined,
    );
    expect(ends.map(({ type }) => type)).toEqual([
      'response.function_call_arguments.done',
      'response.output_item.done',
    ]);
    const cut = { ...call, arguments: '{"a":', status: 'incomplete' };
    expect(terminal).toMatchObject({ response: { output: [item, cut], usage: null } });
  });

  it('is told of a response that sent nothing else', () => {
    const { ends, terminal } = cutResponse(numbered({ type: 'response.created', response }), BILLED);
    expect(ends).toEqual([]);
    expect(terminal).toMatchObject({
      sequence_number: 1,
      response: { id: 'resp_1', output: [], status: 'incomplete' },
    });
  });
});

const streams = recordedCalls()?.filter(({ dialect, isStream }) => dialect === 'openai-responses' && isStream);
const schemas = openAiSchemas();

if (!streams || !schemas) {
  it.skip('recorded responses (no recordings or no description beside the project)', () => undefined);
} else {
  it.each(streams)('$name ends well wherever it is cut: each item once, with the text that was sent of it', (call) => {
    const frames = [...call.bytes.toString().matchAll(/^data: (.*)$/gm)].flatMap(([, data]) => parsed(data ?? ''));
    const isEnd = ({ type }: JsonObject): boolean => type === 'response.completed' || type === 'error';
    const sent = frames.slice(0, frames.findIndex(isEnd));
    expect(sent.length).toBeGreaterThan(0);
    for (let length = 1; length <= sent.length; length += 1) {
      const before = sent.slice(0, length);
      const { ends, terminal } = cutResponse(before, BILLED);
      const all = [...before, ...ends];
      const indexesOf = (type: string): unknown[] => all.filter((f) => f.type === type).map((f) => f.output_index);
      expect(indexesOf('response.output_item.done').sort()).toEqual(indexesOf('response.output_item.added').sort());
      expect(textIn(terminal)).toBe(textOf(before));
      const known = ends.filter(({ item }) => !isProviderTool(item));
      const invalid = known.filter((frame) => schemas.problemsOf('ResponseStreamEvent', frame).length > 0);
      expect(invalid).toEqual([]);
    }
  });
}

function parsed(data: string): JsonObject[] {
  try {
    return [JSON.parse(data) as JsonObject];
  } catch {
    return [];
  }
}

/** As far as it was sent; of parts that have ended what their end said, because some recordings were shortened. */
function textOf(frames: readonly JsonObject[]): string {
  const texts = new Map<string, string>();
  for (const { type, output_index, content_index, delta, text } of frames as readonly Record<string, string>[]) {
    const key = `${output_index ?? ''} ${content_index ?? ''}`;
    if (type === 'response.output_text.delta') texts.set(key, (texts.get(key) ?? '') + (delta ?? ''));
    if (type === 'response.output_text.done') texts.set(key, text ?? '');
  }
  return [...texts.values()].join('');
}

/** Begun, it lacks what its description demands of one that is whole. */
function isProviderTool(item: unknown): boolean {
  return isObject(item) && item.type === 'web_search_call';
}

function textIn(terminal: JsonObject): string {
  const { output } = terminal.response as { output: { content?: { type: string; text?: string }[] }[] };
  const parts = output.flatMap(({ content }) => content ?? []).filter(({ type }) => type === 'output_text');
  return parts.map(({ text }) => text).join('');
}
