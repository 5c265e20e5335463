import { NO_TOKENS } from '../../../catalogue/price';
import type { NeutralEvent } from '../neutral/neutral-event';
import { parseWholeResponse, ResponseEventParser } from './event-parser';

type Frame = Readonly<Record<string, unknown>>;

function parse(frames: readonly Frame[]): NeutralEvent[] {
  const parser = new ResponseEventParser();
  return [...frames.flatMap((frame) => parser.parse(frame)), ...parser.end()];
}

const CREATED = { type: 'response.created', response: { id: 'resp_1', model: 'gpt-5', created_at: 1_700_000_000 } };
const START = { type: 'start', id: 'resp_1', model: 'gpt-5', createdSeconds: 1_700_000_000 };
const USAGE = { input_tokens: 20, output_tokens: 8, total_tokens: 28 };
const COMPLETED = { type: 'response.completed', response: { status: 'completed', output: [], usage: USAGE } };
const usage = { type: 'usage', tokens: { ...NO_TOKENS, inputUncached: 20, output: 8 } };
const END = { type: 'end' };

const added = (item: object, output_index = 0): Frame => ({ type: 'response.output_item.added', output_index, item });
const done = (item: object, output_index = 0): Frame => ({ type: 'response.output_item.done', output_index, item });
const partOf = (type: string, part: object): Frame => ({
  type: `response.content_part.${type}`,
  ...{ output_index: 0, content_index: 0, part },
});
const piece = (type: string, fields: object): Frame => ({
  type: `response.${type}`,
  ...{ output_index: 0, content_index: 0, summary_index: 0 },
  ...fields,
});
const body = (events: readonly NeutralEvent[]): readonly NeutralEvent[] =>
  events.filter(({ type }) => type !== 'start' && type !== 'usage' && type !== 'end');

describe('a stream of a response as events', () => {
  it('tells text as it comes, its end and usage', () => {
    const message = { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Hello' }] };
    const events = parse([
      CREATED,
      added({ type: 'message', content: [] }),
      partOf('added', { type: 'output_text', text: '' }),
      piece('output_text.delta', { delta: 'Hel' }),
      piece('output_text.delta', { delta: 'lo' }),
      piece('output_text.done', { text: 'Hello' }),
      partOf('done', { type: 'output_text', text: 'Hello' }),
      done(message),
      COMPLETED,
    ]);
    expect(events).toEqual([
      START,
      { type: 'block_start', block: 0, content: { kind: 'text' } },
      { type: 'delta', block: 0, text: 'Hel' },
      { type: 'delta', block: 0, text: 'lo' },
      { type: 'block_end', block: 0 },
      { type: 'finish', reason: 'stop' },
      usage,
      END,
    ]);
  });

  it('tells what a provider says only in the last frame of an item, once', () => {
    const call = { type: 'function_call', call_id: 'call_1', name: 'weather', arguments: '{"city":"Rome"}' };
    const events = parse([
      CREATED,
      added({ ...call, arguments: '' }),
      piece('function_call_arguments.delta', { delta: '{"city"' }),
      piece('function_call_arguments.done', { arguments: call.arguments }),
      done(call),
      done({ ...call, call_id: 'call_2' }, 1),
      done({ type: 'message', content: [{ type: 'output_text', text: 'Hi' }] }, 2),
      done({ type: 'reasoning', summary: [{ type: 'summary_text', text: 'I see' }], encrypted_content: 'gA' }, 3),
      COMPLETED,
    ]);
    expect(body(events)).toEqual([
      {
        type: 'block_start',
        block: 0,
        content: { kind: 'tool_call', tool: 'function', callId: 'call_1', name: 'weather' },
      },
      { type: 'delta', block: 0, text: '{"city"' },
      { type: 'delta', block: 0, text: ':"Rome"}' },
      { type: 'block_end', block: 0 },
      {
        type: 'block_start',
        block: 1,
        content: { kind: 'tool_call', tool: 'function', callId: 'call_2', name: 'weather' },
      },
      { type: 'delta', block: 1, text: call.arguments },
      { type: 'block_end', block: 1 },
      { type: 'block_start', block: 2, content: { kind: 'text' } },
      { type: 'delta', block: 2, text: 'Hi' },
      { type: 'block_end', block: 2 },
      { type: 'block_start', block: 3, content: { kind: 'reasoning', isSummary: true } },
      { type: 'delta', block: 3, text: 'I see' },
      { type: 'signature', block: 3, signature: 'gA' },
      { type: 'block_end', block: 3 },
      { type: 'finish', reason: 'tool_calls' },
    ]);
  });

  it('tells calls that are written by turns as two open blocks', () => {
    const call = (call_id: string): Frame => ({ type: 'custom_tool_call', call_id, name: 'sql', input: '' });
    const events = parse([
      added(call('a'), 0),
      added(call('b'), 1),
      { type: 'response.custom_tool_call_input.delta', output_index: 1, delta: 'two' },
      { type: 'response.custom_tool_call_input.delta', output_index: 0, delta: 'one' },
      done({ ...call('a'), input: 'one' }, 0),
      done({ ...call('b'), input: 'two' }, 1),
      COMPLETED,
    ]);
    expect(body(events)).toEqual([
      { type: 'block_start', block: 0, content: { kind: 'tool_call', tool: 'custom', callId: 'a', name: 'sql' } },
      { type: 'block_start', block: 1, content: { kind: 'tool_call', tool: 'custom', callId: 'b', name: 'sql' } },
      { type: 'delta', block: 1, text: 'two' },
      { type: 'delta', block: 0, text: 'one' },
      { type: 'block_end', block: 0 },
      { type: 'block_end', block: 1 },
      { type: 'finish', reason: 'tool_calls' },
    ]);
  });

  it('tells parts of a summary as one text, and the last signature that was given', () => {
    const summary = [
      { type: 'summary_text', text: 'First.' },
      { type: 'summary_text', text: 'Then.' },
    ];
    const events = parse([
      added({ type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'early' }),
      piece('reasoning_summary_text.delta', { delta: 'First.' }),
      piece('reasoning_summary_text.delta', { summary_index: 1, delta: 'Th' }),
      done({ type: 'reasoning', id: 'rs_1', summary, encrypted_content: 'late' }),
      COMPLETED,
    ]);
    expect(body(events)).toEqual([
      { type: 'block_start', block: 0, content: { kind: 'reasoning', isSummary: true, id: 'rs_1' } },
      { type: 'delta', block: 0, text: 'First.' },
      { type: 'delta', block: 0, text: '\n\n' },
      { type: 'delta', block: 0, text: 'Th' },
      { type: 'delta', block: 0, text: 'en.' },
      { type: 'signature', block: 0, signature: 'late' },
      { type: 'block_end', block: 0 },
      { type: 'finish', reason: 'stop' },
    ]);
  });

  it('tells raw thoughts once where their summary comes too, a thought nobody can read as redacted, none of an empty one', () => {
    const raw = {
      type: 'reasoning',
      summary: [{ text: 'short' }],
      content: [{ type: 'reasoning_text', text: 'long' }],
    };
    const events = parse([
      added({ type: 'reasoning', summary: [] }),
      piece('reasoning_text.delta', { delta: 'long' }),
      done(raw),
      done({ type: 'reasoning', id: 'rs_2', summary: [], encrypted_content: 'gA' }, 1),
      done({ type: 'reasoning', id: 'rs_3', summary: [] }, 2),
      COMPLETED,
    ]);
    expect(body(events)).toEqual([
      { type: 'block_start', block: 0, content: { kind: 'reasoning', isSummary: false } },
      { type: 'delta', block: 0, text: 'long' },
      { type: 'block_end', block: 0 },
      { type: 'block_start', block: 1, content: { kind: 'redacted_reasoning', data: 'gA', id: 'rs_2' } },
      { type: 'block_end', block: 1 },
      { type: 'finish', reason: 'stop' },
    ]);
  });

  it('tells where text comes from, each source once', () => {
    const annotation = { type: 'url_citation', url: 'https://a.example', title: 'A', start_index: 0, end_index: 2 };
    const file = { type: 'file_citation', file_id: 'file-1', index: 0 };
    const text = { type: 'output_text', text: 'Hi', annotations: [annotation, file] };
    const events = parse([
      piece('output_text.delta', { delta: 'Hi' }),
      piece('output_text.annotation.added', { annotation, annotation_index: 0 }),
      partOf('done', text),
      done({ type: 'message', content: [text] }),
      COMPLETED,
    ]);
    const citations = events.filter(({ type }) => type === 'citation');
    expect(citations).toEqual([{ type: 'citation', block: 0, citation: { url: 'https://a.example', title: 'A' } }]);
  });

  it('tells what the provider ran itself as such, and who is refused', () => {
    const refusal = { type: 'message', content: [{ type: 'refusal', refusal: 'No.' }] };
    const events = parse([
      added({ type: 'web_search_call', status: 'in_progress' }),
      { type: 'response.web_search_call.searching', output_index: 0 },
      done({ type: 'web_search_call', status: 'completed' }),
      done(refusal, 1),
      COMPLETED,
    ]);
    expect(body(events)).toEqual([
      { type: 'block_start', block: 0, content: { kind: 'provider_tool', name: 'web_search' } },
      { type: 'block_end', block: 0 },
      { type: 'block_start', block: 1, content: { kind: 'refusal' } },
      { type: 'delta', block: 1, text: 'No.' },
      { type: 'block_end', block: 1 },
      { type: 'finish', reason: 'refusal' },
    ]);
  });

  it.each([
    ['max_output_tokens', 'length'],
    ['content_filter', 'content_filter'],
  ])('knows what %s means', (reason, told) => {
    const response = { status: 'incomplete', incomplete_details: { reason }, output: [], usage: USAGE };
    expect(parse([CREATED, { type: 'response.incomplete', response }])).toEqual([
      START,
      { type: 'finish', reason: told },
      usage,
      END,
    ]);
  });

  it('ends what is open where a provider forgets its last frames', () => {
    expect(parse([CREATED, piece('output_text.delta', { delta: 'Hi' })])).toEqual([
      START,
      { type: 'block_start', block: 0, content: { kind: 'text' } },
      { type: 'delta', block: 0, text: 'Hi' },
      { type: 'block_end', block: 0 },
      { type: 'finish', reason: 'stop' },
      END,
    ]);
  });

  it('tells a whole response as if it had been streamed', () => {
    const output = [
      { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'I see' }], encrypted_content: 'gA' },
      { type: 'message', content: [{ type: 'output_text', text: 'Hello', annotations: [] }] },
      { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
    ];
    const response = { ...CREATED.response, status: 'completed', output, usage: USAGE };
    const whole = parseWholeResponse(response);
    expect(whole).toEqual(parse([CREATED, ...output.map((item, at) => done(item, at)), COMPLETED]));
    expect(whole.filter(({ type }) => type === 'block_start')).toHaveLength(3);
  });

  it('takes items of one index for several where one begins or ends after another ended', () => {
    const call = (callId: string): Frame => ({ type: 'function_call', call_id: callId, name: 'f', arguments: '{}' });
    const said = (text: string): Frame => ({ type: 'message', content: [{ type: 'output_text', text }] });
    const events = parse([done(call('a')), done(call('b')), done(said('c')), done(said('d')), COMPLETED]);
    expect(events.filter(({ type }) => type === 'block_end')).toHaveLength(4);
    expect(events.flatMap((event) => (event.type === 'delta' ? [event.text] : []))).toEqual(['{}', '{}', 'c', 'd']);
  });

  it('is not misled by frames it does not know', () => {
    const odd = [{}, { type: 7 }, { type: 'ping' }, { type: 'response.new' }, { type: 'response.output_item.added' }];
    const frames = [...odd, { type: 'response.output_item.done', item: {} }, { type: 'response.output_text.delta' }];
    expect(() => parse(frames)).not.toThrow();
  });
});
