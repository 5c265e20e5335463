import * as fc from 'fast-check';

import { assemble, readEvents } from '../../../../test/support/assembled-answer';
import { openAiSchemas } from '../../../../test/support/openai-schemas';
import { recordedChatBodies, recordedChatStreams } from '../../../../test/support/recorded-streams';
import { NO_TOKENS } from '../../../catalogue/price';
import type { JsonObject } from '../../../kernel/json-object';
import type { AnswerLook } from '../dialect';
import { isRefusal } from '../invalid-request';
import type { NeutralBlock, NeutralEvent } from '../neutral/neutral-event';
import { renderChatCompletion } from './chat-answer';
import { ChatEventParser, eventsOfCompletion } from './chat-events';
import { ChatFrames } from './chat-frames';
import { parseChatRequest } from './chat-request';

const schemas = openAiSchemas();
const streams = recordedChatStreams() ?? [];
const bodies = [...(recordedChatBodies() ?? [])].filter(([name]) => !name.endsWith('.chunks'));

function look(more: Partial<AnswerLook> = {}, body: object = {}): AnswerLook {
  const request = parseChatRequest(
    Buffer.from(JSON.stringify({ model: 'ours', messages: [{ role: 'user', content: 'Hi' }], ...body })),
  );
  if (isRefusal(request)) throw new Error(JSON.stringify(request));
  return { model: 'ours', showUsage: true, request, answerId: 'abc', nowMs: 1_700_000_000_500, ...more };
}

function rendered(events: readonly NeutralEvent[], how = look()): string {
  const frames = new ChatFrames(how);
  return events.map((event) => frames.render(event)).join('') + frames.terminal();
}

/** The JSON of each frame; each must be as OpenAI describes it. */
function framesOf(stream: string): readonly JsonObject[] {
  const { events, isDone } = readEvents(stream);
  expect(isDone).toBe(true);
  return events.map((event) => {
    const frame = JSON.parse(event) as JsonObject;
    expect(schemas?.problemsOf('CreateChatCompletionStreamResponse', frame) ?? []).toEqual([]);
    return frame;
  });
}

function parsed(frames: readonly JsonObject[]): readonly NeutralEvent[] {
  const parser = new ChatEventParser();
  return [...frames.flatMap((frame) => parser.parse(frame)), ...parser.end()];
}

/** Without what the gateway says in its own way: ids, names and times. */
function said(events: readonly NeutralEvent[]): readonly NeutralEvent[] {
  return events.map((event) => (event.type === 'start' ? { ...event, id: '', model: '' } : event));
}

/** Pieces of one text belong together: a whole answer does not tell where the stream was cut. */
function joined(events: readonly NeutralEvent[]): readonly NeutralEvent[] {
  return said(events).reduce<NeutralEvent[]>((all, event) => {
    const last = all.at(-1);
    const isMore = event.type === 'delta' && last?.type === 'delta' && last.block === event.block;
    return isMore ? [...all.slice(0, -1), { ...last, text: last.text + event.text }] : [...all, event];
  }, []);
}

const START: NeutralEvent = { type: 'start', id: '', model: '', createdSeconds: 7 };

const piece = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
const pieces = fc.array(piece, { minLength: 1, maxLength: 4 });
const tokens = fc
  .record({
    inputUncached: fc.nat(10_000),
    inputCached: fc.nat(10_000),
    cacheWrite: fc.nat(10_000),
    output: fc.nat(10_000),
    reasoning: fc.nat(10_000),
  })
  .map((counts) => ({ ...NO_TOKENS, ...counts }));
const citation = fc.record({ url: fc.webUrl(), title: piece, citedText: piece });

interface Written {
  readonly content: NeutralBlock;
  readonly deltas: readonly string[];
  readonly tail: readonly { readonly signature?: string; readonly citation?: object }[];
}

const text = fc.record<Written>({
  content: fc.constant({ kind: 'text' }),
  deltas: pieces,
  tail: fc.array(
    citation.map((cited) => ({ citation: cited })),
    { maxLength: 2 },
  ),
});
const thought = fc.record<Written>({
  content: fc.constant({ kind: 'reasoning', isSummary: false }),
  deltas: pieces,
  tail: piece.map((signature) => [{ signature }]),
});
const redacted = fc.record<Written>({
  content: fc.record({ kind: fc.constant('redacted_reasoning' as const), data: piece }),
  deltas: fc.constant([]),
  tail: fc.constant([]),
});
const refusal = fc.record<Written>({
  content: fc.constant({ kind: 'refusal' }),
  deltas: pieces,
  tail: fc.constant([]),
});
/** Cut anywhere; ids differ. */
const calls = fc.uniqueArray(
  fc.record({ callId: piece, name: piece, args: fc.dictionary(piece, fc.jsonValue()), cut: fc.nat(40) }),
  { selector: ({ callId }) => callId, maxLength: 3 },
);

/** What a chat provider can say, in the order in which a whole message says it. */
const answers = fc
  .record({ thoughts: fc.array(fc.oneof(thought, redacted), { maxLength: 3 }), text, refusal, calls, tokens })
  .chain((parts) => fc.record({ parts: fc.constant(parts), hasText: fc.boolean(), hasRefusal: fc.boolean() }))
  .map(({ parts, hasText, hasRefusal }) => {
    const called = parts.calls.map(({ callId, name, args, cut }): Written => {
      const json = JSON.stringify(args);
      const deltas = [json.slice(0, cut), json.slice(cut)].filter(Boolean);
      return { content: { kind: 'tool_call', tool: 'function', callId, name }, deltas, tail: [] };
    });
    const written = [...parts.thoughts, ...(hasText ? [parts.text] : []), ...(hasRefusal ? [parts.refusal] : [])];
    const reason = called.length > 0 ? 'tool_calls' : hasRefusal ? 'refusal' : 'stop';
    return [
      START,
      ...[...written, ...called].flatMap(eventsOf),
      { type: 'finish', reason },
      { type: 'usage', tokens: parts.tokens },
      { type: 'end' },
    ] as NeutralEvent[];
  });

function eventsOf({ content, deltas, tail }: Written, block: number): NeutralEvent[] {
  return [
    { type: 'block_start', block, content },
    ...deltas.map((part) => ({ type: 'delta' as const, block, text: part })),
    ...tail.map((more) => ({ type: more.signature === undefined ? 'citation' : 'signature', block, ...more })),
    { type: 'block_end', block },
  ] as NeutralEvent[];
}

describe('ChatFrames', () => {
  it('shapes frames as OpenAI does', () => {
    const events: NeutralEvent[] = [
      { type: 'start', id: 'msg_1', model: 'theirs' },
      { type: 'block_start', block: 0, content: { kind: 'text' } },
      { type: 'delta', block: 0, text: 'Hi' },
      { type: 'block_end', block: 0 },
      { type: 'finish', reason: 'stop', stopSequence: '.' },
      { type: 'usage', tokens: { ...NO_TOKENS, inputUncached: 3, output: 1 } },
      { type: 'end' },
    ];
    const shared = { id: 'chatcmpl-abc', object: 'chat.completion.chunk', created: 1_700_000_000, model: 'ours' };
    const choice = (delta: object, finish_reason: string | null = null): object => ({
      ...shared,
      choices: [{ index: 0, delta, logprobs: null, finish_reason }],
      usage: null,
    });
    const details = {
      prompt_tokens_details: { cached_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
    };
    expect(framesOf(rendered(events))).toEqual([
      choice({ role: 'assistant', content: '', refusal: null }),
      choice({ content: 'Hi' }),
      choice({}, 'stop'),
      { ...shared, choices: [], usage: { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4, ...details } },
    ]);
    const withoutUsage = framesOf(rendered(events, look({ showUsage: false })));
    expect(withoutUsage).toHaveLength(3);
    for (const frame of withoutUsage) expect(frame).not.toHaveProperty('usage');
  });

  it('says again what a parser heard, piece by piece', () => {
    fc.assert(
      fc.property(answers, (events) => {
        expect(said(parsed(framesOf(rendered(events))))).toEqual(events);
      }),
    );
  });

  it('numbers calls that are written by turns', () => {
    const begin = (block: number, callId: string): NeutralEvent => ({
      type: 'block_start',
      block,
      content: { kind: 'tool_call', tool: 'function', callId, name: 'f' },
    });
    const events: NeutralEvent[] = [
      START,
      begin(0, 'a'),
      begin(1, 'b'),
      { type: 'delta', block: 0, text: '{"x":' },
      { type: 'delta', block: 1, text: '{"y":' },
      { type: 'delta', block: 0, text: '1}' },
      { type: 'delta', block: 1, text: '2}' },
      { type: 'block_end', block: 0 },
      { type: 'block_end', block: 1 },
      { type: 'finish', reason: 'tool_calls' },
      { type: 'end' },
    ];
    expect(assemble(readEvents(rendered(events)).events).toolCalls).toEqual({
      0: { id: 'a', name: 'f', arguments: '{"x":1}' },
      1: { id: 'b', name: 'f', arguments: '{"y":2}' },
    });
  });

  it('writes the arguments of a call that has none as an empty object, and no tools of the provider', () => {
    const content = { kind: 'tool_call', tool: 'function', callId: 'a', name: 'f' } as const;
    const events: NeutralEvent[] = [
      START,
      { type: 'block_start', block: 0, content: { kind: 'provider_tool', name: 'web_search' } },
      { type: 'block_end', block: 0 },
      { type: 'block_start', block: 1, content },
      { type: 'block_end', block: 1 },
      { type: 'finish', reason: 'tool_calls' },
      { type: 'end' },
    ];
    const answer = assemble(readEvents(rendered(events)).events);
    expect(answer.toolCalls).toEqual({ 0: { id: 'a', name: 'f', arguments: '{}' } });
    expect(answer).toMatchObject({ text: '', finishReason: 'tool_calls' });
  });

  it('makes the call of a tool that takes text of the function that stood for it', () => {
    const how = look({}, { tools: [{ type: 'custom', custom: { name: 'sql' } }] });
    const events: NeutralEvent[] = [
      START,
      { type: 'block_start', block: 0, content: { kind: 'tool_call', tool: 'function', callId: 'a', name: 'sql' } },
      { type: 'delta', block: 0, text: '{"input":"SEL' },
      { type: 'delta', block: 0, text: 'ECT"}' },
      { type: 'block_end', block: 0 },
      { type: 'finish', reason: 'tool_calls' },
      { type: 'end' },
    ];
    const call = { id: 'a', type: 'custom', custom: { name: 'sql', input: 'SELECT' } };
    expect(renderChatCompletion(events, how)).toMatchObject({ choices: [{ message: { tool_calls: [call] } }] });
    expect(
      parsed(readEvents(rendered(events, how)).events.map((event) => JSON.parse(event) as JsonObject)),
    ).toContainEqual({ type: 'delta', block: 0, text: 'SELECT' });
  });

  it.each([
    ['refusal', 'content_filter'],
    ['pause', 'stop'],
    ['content_filter', 'content_filter'],
  ] as const)('says %s as %s', (reason, told) => {
    const stream = rendered([START, { type: 'finish', reason }, { type: 'end' }]);
    expect(assemble(readEvents(stream).events).finishReason).toBe(told);
  });

  it('ends where the answer is cut as if it had reached its maximum', () => {
    fc.assert(
      fc.property(answers, fc.nat(30), tokens, (events, at, billed) => {
        const frames = new ChatFrames(look());
        const isBeforeEnd = ({ type }: NeutralEvent): boolean => !['finish', 'usage', 'end'].includes(type);
        const before = events
          .filter(isBeforeEnd)
          .slice(0, at)
          .map((event) => frames.render(event));
        const [last, usage, ...rest] = framesOf(before.join('') + frames.cut(billed) + frames.terminal()).slice(-2);
        expect(rest).toEqual([]);
        expect(last).toMatchObject({ choices: [{ index: 0, delta: {}, finish_reason: 'length' }] });
        expect(usage).toMatchObject({ choices: [], usage: { completion_tokens: billed.output + billed.reasoning } });
      }),
    );
  });

  it('opens an answer that is cut before anything came', () => {
    const frames = new ChatFrames(look({ showUsage: false }));
    const [first, last, ...rest] = framesOf(frames.cut(undefined) + frames.terminal());
    expect(rest).toEqual([]);
    expect(first).toMatchObject({ choices: [{ delta: { role: 'assistant' } }] });
    expect(last).toMatchObject({ choices: [{ finish_reason: 'length' }] });
  });
});

describe('renderChatCompletion', () => {
  it('says the same again when it is read', () => {
    fc.assert(
      fc.property(answers, (events) => {
        const body = renderChatCompletion(events, look());
        expect(schemas?.problemsOf('CreateChatCompletionResponse', body) ?? []).toEqual([]);
        expect(joined(eventsOfCompletion(body))).toEqual(joined(events));
      }),
    );
  });

  it('has no content where there is no text', () => {
    const body = renderChatCompletion([START, { type: 'finish', reason: 'length' }, { type: 'end' }], look());
    expect(body).toEqual({
      id: 'chatcmpl-abc',
      object: 'chat.completion',
      created: 7,
      model: 'ours',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: null, refusal: null, annotations: [] },
          logprobs: null,
          finish_reason: 'length',
        },
      ],
    });
  });
});

(streams.length > 0 ? describe : describe.skip)('recorded chat answers', () => {
  it.each(streams)('$name: parsed and rendered, the client hears the same', ({ events }) => {
    const heard = assemble(events);
    const parsedEvents = parsed(events.map((event) => JSON.parse(event) as JsonObject));
    const frames = framesOf(rendered(parsedEvents));
    const again = assemble(frames.map((frame) => JSON.stringify(frame)));
    expect({ ...again, usage: 0, model: 0 }).toEqual({ ...heard, usage: 0, model: 0 });
    expect(said(parsed(frames))).toEqual(said(parsedEvents));
    const body = renderChatCompletion(parsedEvents, look());
    expect(schemas?.problemsOf('CreateChatCompletionResponse', body) ?? []).toEqual([]);
    expect(joined(eventsOfCompletion(body))).toEqual(joined(parsedEvents));
  });

  it.each(bodies)('%s: a whole answer, parsed and rendered, says the same', (_, bytes) => {
    const body = JSON.parse(bytes.toString('utf8')) as JsonObject;
    const events = eventsOfCompletion(body);
    const [choice] = body.choices as { message: JsonObject; finish_reason: string }[];
    const again = renderChatCompletion(events, look());
    const { content, reasoning_content, tool_calls } = choice?.message ?? {};
    expect(again).toMatchObject({
      created: body.created,
      choices: [{ message: { content: content === '' ? null : content }, finish_reason: choice?.finish_reason }],
    });
    const [message] = (again.choices as { message: JsonObject }[]).map((one) => one.message);
    expect(message?.reasoning_content).toEqual(reasoning_content);
    expect(message?.tool_calls ?? null).toEqual(
      tool_calls
        ? (tool_calls as JsonObject[]).map(({ id, type, function: called }) => ({ id, type, function: called }))
        : null,
    );
    expect(joined(eventsOfCompletion(again))).toEqual(joined(events));
  });
});
