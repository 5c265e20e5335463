import * as fc from 'fast-check';
import { ResponseStream } from 'openai/lib/responses/ResponseStream';

import { openAiSchemas } from '../../../../test/support/openai-schemas';
import { NO_TOKENS, type TokenCounts } from '../../../catalogue/price';
import type { JsonObject } from '../../../kernel/json-object';
import type { AnswerLook } from '../dialect';
import { isRefusal } from '../invalid-request';
import { argumentsOfInput } from '../neutral/custom-tool';
import type { NeutralBlock, NeutralEvent, NeutralFinishReason } from '../neutral/neutral-event';
import { parseWholeResponse, ResponseEventParser } from './event-parser';
import { renderWholeResponse, ResponseEventRenderer } from './event-renderer';
import { parseResponsesRequest } from './responses-request';

const SEED = 20_261_121;
const schemas = openAiSchemas();
const tokens: TokenCounts = { ...NO_TOKENS, inputUncached: 7, inputCached: 3, cacheWrite: 2, output: 5, reasoning: 4 };

function lookOf(options: JsonObject = {}): AnswerLook {
  const request = parseResponsesRequest(Buffer.from(JSON.stringify({ model: 'm', input: 'Hi', ...options })));
  if (isRefusal(request)) throw new Error(JSON.stringify(request));
  return { model: 'my-model', showUsage: true, request, answerId: 'a1', nowMs: 1_700_000_000_999 };
}

function rendered(events: readonly NeutralEvent[], look = lookOf()): JsonObject[] {
  const renderer = new ResponseEventRenderer(look);
  return framesIn(events.map((event) => renderer.render(event)).join('') + renderer.terminal());
}

function framesIn(text: string): JsonObject[] {
  return text
    .split('\n\n')
    .filter(Boolean)
    .map((frame) => {
      const [, type, data] = /^event: (\S+)\ndata: (.*)$/.exec(frame) ?? [];
      const parsed = JSON.parse(data ?? '') as JsonObject;
      expect(parsed.type).toBe(type);
      return parsed;
    });
}

const block = (at: number, content: NeutralBlock, ...texts: string[]): NeutralEvent[] => [
  { type: 'block_start', block: at, content },
  ...texts.map((text): NeutralEvent => ({ type: 'delta', block: at, text })),
  { type: 'block_end', block: at },
];
const answer = (reason: NeutralFinishReason, ...blocks: (readonly NeutralEvent[])[]): NeutralEvent[] => [
  { type: 'start', id: 'chatcmpl-1', model: 'provider-model' },
  ...blocks.flat(),
  { type: 'finish', reason },
  { type: 'usage', tokens },
  { type: 'end' },
];
const call = (callId: string, name: string, tool: 'function' | 'custom' = 'function'): NeutralBlock => ({
  kind: 'tool_call',
  ...{ tool, callId, name },
});
const last = (frames: readonly JsonObject[]): { type: unknown; response: JsonObject } =>
  frames.at(-1) as { type: unknown; response: JsonObject };

function expectValid(frames: readonly JsonObject[]): void {
  for (const frame of frames) {
    expect([frame.type, schemas?.problemsOf('ResponseStreamEvent', frame) ?? []]).toEqual([frame.type, []]);
  }
}

describe('a response that another provider answers', () => {
  it("has OpenAI's frames in OpenAI's order, numbered without a gap", () => {
    const frames = rendered(
      answer(
        'tool_calls',
        block(0, { kind: 'reasoning', isSummary: true }, 'I ', 'see'),
        block(1, { kind: 'text' }, 'Hel', 'lo'),
        block(2, call('call_1', 'weather'), '{"city":', '"Rome"}'),
      ),
    );
    expect(frames.map(({ type }) => String(type).replace('response.', ''))).toEqual([
      ...['created', 'in_progress'],
      ...['output_item.added', 'reasoning_summary_part.added'],
      ...['reasoning_summary_text.delta', 'reasoning_summary_text.delta', 'reasoning_summary_text.done'],
      ...['reasoning_summary_part.done', 'output_item.done'],
      ...['output_item.added', 'content_part.added', 'output_text.delta', 'output_text.delta', 'output_text.done'],
      ...['content_part.done', 'output_item.done'],
      ...['output_item.added', 'function_call_arguments.delta', 'function_call_arguments.delta'],
      ...['function_call_arguments.done', 'output_item.done', 'completed'],
    ]);
    expect(frames.map(({ sequence_number }) => sequence_number)).toEqual(frames.map((_, at) => at));
    expectValid(frames);
    expect(last(frames).response).toMatchObject({
      id: 'resp_a1',
      status: 'completed',
      model: 'my-model',
      created_at: 1_700_000_000,
      output: [
        { id: 'rs_a1_0', type: 'reasoning', summary: [{ type: 'summary_text', text: 'I see' }] },
        { id: 'msg_a1_1', type: 'message', status: 'completed', content: [{ type: 'output_text', text: 'Hello' }] },
        { id: 'fc_a1_2', type: 'function_call', call_id: 'call_1', name: 'weather', arguments: '{"city":"Rome"}' },
      ],
      usage: {
        input_tokens: 12,
        input_tokens_details: { cached_tokens: 3, cache_write_tokens: 2 },
        output_tokens: 9,
        output_tokens_details: { reasoning_tokens: 4 },
        total_tokens: 21,
      },
    });
  });

  it('lets calls that are written by turns be, each under its own index', () => {
    const frames = rendered([
      { type: 'start', id: 'x', model: 'y' },
      { type: 'block_start', block: 0, content: call('a', 'f') },
      { type: 'block_start', block: 1, content: call('b', 'g') },
      { type: 'delta', block: 1, text: '{"b":1}' },
      { type: 'delta', block: 0, text: '{"a":1}' },
      { type: 'block_end', block: 0 },
      { type: 'block_end', block: 1 },
      { type: 'finish', reason: 'tool_calls' },
      { type: 'end' },
    ]);
    expectValid(frames);
    const deltas = frames.filter(({ type }) => type === 'response.function_call_arguments.delta');
    expect(deltas).toMatchObject([
      { output_index: 1, item_id: 'fc_a1_1', delta: '{"b":1}' },
      { output_index: 0, item_id: 'fc_a1_0', delta: '{"a":1}' },
    ]);
    expect(last(frames).response).not.toHaveProperty('usage');
  });

  it('repeats what was asked, with the defaults of OpenAI for what was not', () => {
    const asked = {
      instructions: 'Be brief',
      temperature: 0.3,
      tools: [
        { type: 'function', name: 'f', parameters: { type: 'object' }, strict: true },
        { type: 'function', name: 'g' },
      ],
      tool_choice: { type: 'function', name: 'f' },
      text: { format: { type: 'json_schema', name: 's', schema: { type: 'object' } }, verbosity: 'low' },
      reasoning: { effort: 'high' },
      metadata: { team: 'a' },
      user: 'ann',
      store: true,
    };
    const response = renderWholeResponse(answer('stop', block(0, { kind: 'text' }, 'Hi')), lookOf(asked));
    expect(schemas?.problemsOf('Response', response) ?? []).toEqual([]);
    expect(response).toMatchObject({
      ...asked,
      tools: [asked.tools[0], { type: 'function', name: 'g', parameters: null, strict: null }],
      store: false,
    });
    const plain = renderWholeResponse(answer('stop'), lookOf());
    expect(schemas?.problemsOf('Response', plain) ?? []).toEqual([]);
    expect(plain).toMatchObject({
      ...{ instructions: null, temperature: 1, top_p: 1, tool_choice: 'auto', tools: [], parallel_tool_calls: true },
      ...{ text: { format: { type: 'text' } }, metadata: {}, truncation: 'disabled', output: [] },
    });
  });

  it.each<[NeutralFinishReason, NeutralEvent[], string, string | undefined]>([
    ['stop', block(0, { kind: 'text' }, 'Hi'), 'completed', undefined],
    ['pause', block(0, { kind: 'text' }, 'Hi'), 'completed', undefined],
    ['length', block(0, { kind: 'text' }, 'Hi'), 'incomplete', 'max_output_tokens'],
    ['content_filter', block(0, { kind: 'text' }, 'Hi'), 'incomplete', 'content_filter'],
    ['refusal', block(0, { kind: 'refusal' }, 'No.'), 'completed', undefined],
    ['refusal', [], 'incomplete', 'content_filter'],
  ])('ends for %s', (reason, blocks, status, why) => {
    const frames = rendered(answer(reason, blocks));
    expectValid(frames);
    expect(last(frames).type).toBe(`response.${status}`);
    expect(last(frames).response).toMatchObject({
      status,
      incomplete_details: why === undefined ? null : { reason: why },
    });
  });

  it('calls a custom tool as one, although its provider only knows functions', () => {
    const look = lookOf({ tools: [{ type: 'custom', name: 'sql', format: { type: 'text' } }] });
    const args = argumentsOfInput('SELECT "a"\n');
    const frames = rendered(answer('tool_calls', block(0, call('c', 'sql'), args.slice(0, 9), args.slice(9))), look);
    expectValid(frames);
    expect(last(frames).response.output).toMatchObject([
      { id: 'ctc_a1_0', type: 'custom_tool_call', call_id: 'c', name: 'sql', input: 'SELECT "a"\n' },
    ]);
    const custom = rendered(answer('tool_calls', block(0, call('c', 'sql', 'custom'), 'SELECT ', '1')), look);
    expectValid(custom);
    expect(last(custom).response.output).toMatchObject([{ type: 'custom_tool_call', input: 'SELECT 1' }]);
  });

  it('gives a tool of a namespace its two names back', () => {
    const tools = [
      { type: 'namespace', name: 'mcp__a__', description: 'A', tools: [{ type: 'function', name: 'look' }] },
    ];
    const frames = rendered(answer('tool_calls', block(0, call('c', 'mcp__a__look'), '{}')), lookOf({ tools }));
    expect(last(frames).response.output).toMatchObject([
      { type: 'function_call', name: 'look', namespace: 'mcp__a__', arguments: '{}' },
    ]);
  });

  it('never gives a client arguments that are no JSON where there are none', () => {
    const { output } = renderWholeResponse(answer('tool_calls', block(0, call('c', 'now'))), lookOf());
    expect(output).toMatchObject([{ type: 'function_call', arguments: '{}' }]);
  });

  it('proves thoughts to their provider, also those that nobody can read', () => {
    const frames = rendered(
      answer(
        'stop',
        [
          { type: 'block_start', block: 0, content: { kind: 'reasoning', isSummary: false } },
          { type: 'delta', block: 0, text: 'Hm' },
          { type: 'signature', block: 0, signature: 'c2ln' },
          { type: 'block_end', block: 0 },
        ],
        block(1, { kind: 'redacted_reasoning', data: 'secret' }),
        block(2, { kind: 'provider_tool', name: 'web_search' }),
      ),
    );
    expectValid(frames);
    expect(last(frames).response.output).toEqual([
      { id: 'rs_a1_0', type: 'reasoning', summary: [{ type: 'summary_text', text: 'Hm' }], encrypted_content: 'c2ln' },
      { id: 'rs_a1_1', type: 'reasoning', summary: [], encrypted_content: 'redacted:secret' },
    ]);
  });

  it('names the sources of a text once it is known how long that is', () => {
    const frames = rendered(
      answer('stop', [
        { type: 'block_start', block: 0, content: { kind: 'text' } },
        { type: 'citation', block: 0, citation: { url: 'https://a.example' } },
        { type: 'delta', block: 0, text: 'Rome' },
        { type: 'block_end', block: 0 },
      ]),
    );
    expectValid(frames);
    const annotation = {
      type: 'url_citation',
      url: 'https://a.example',
      title: 'https://a.example',
      start_index: 0,
      end_index: 4,
    };
    expect(frames.find(({ type }) => type === 'response.output_text.annotation.added')).toMatchObject({ annotation });
    expect(last(frames).response.output).toMatchObject([{ content: [{ text: 'Rome', annotations: [annotation] }] }]);
  });

  it('is ended as if it had reached its maximum where it is cut, with what was billed', () => {
    const renderer = new ResponseEventRenderer(lookOf());
    let text = '';
    for (const event of answer('stop', block(0, { kind: 'text' }, 'Hello'), block(1, call('c', 'f'), '{"a'))) {
      if (event.type === 'block_end' && event.block === 1) break;
      text += renderer.render(event);
    }
    text += renderer.cut(tokens);
    const frames = framesIn(text + renderer.terminal());
    expectValid(frames);
    expect(last(frames)).toMatchObject({
      type: 'response.incomplete',
      response: {
        status: 'incomplete',
        incomplete_details: { reason: 'max_output_tokens' },
        output: [{ status: 'completed' }, { type: 'function_call', status: 'incomplete', arguments: '{"a' }],
        usage: { total_tokens: 21 },
      },
    });
    const early = new ResponseEventRenderer(lookOf());
    expect(framesIn(early.cut(undefined) + early.terminal()).map(({ type }) => type)).toEqual([
      ...['response.created', 'response.in_progress', 'response.incomplete'],
    ]);
  });
});

/** Blocks that come one after the other, as this dialect tells them: nothing empty, thoughts as summaries. */
const pieces = fc.array(fc.string({ minLength: 1, unit: 'grapheme' }), { minLength: 1, maxLength: 4 });
const contents = fc.oneof(
  fc.record({ kind: fc.constantFrom('text' as const, 'refusal' as const) }),
  fc.constant({ kind: 'reasoning', isSummary: true } as const),
  fc.record({ kind: fc.constant('redacted_reasoning' as const), data: fc.base64String({ minLength: 4 }) }),
  fc.record({
    kind: fc.constant('tool_call' as const),
    tool: fc.constantFrom('function' as const, 'custom' as const),
    callId: fc.string({ minLength: 1 }),
    name: fc.string({ minLength: 1 }),
  }),
);
const citations = fc.array(fc.record({ url: fc.webUrl(), title: fc.string() }), { maxLength: 2 });
const answers = fc
  .record({
    blocks: fc.array(fc.tuple(contents, pieces, citations, fc.base64String({ minLength: 4 })), { maxLength: 5 }),
    reason: fc.constantFrom<NeutralFinishReason>('stop', 'length', 'content_filter'),
    takesTurns: fc.boolean(),
  })
  .map(({ blocks, reason, takesTurns }) => {
    const told = blocks.map(([content, texts, sources, signature], at): NeutralEvent[] => {
      const isSilent = content.kind === 'redacted_reasoning';
      const [start, ...rest] = block(at, content, ...(isSilent ? [] : texts));
      const end = rest.pop();
      if (content.kind === 'text')
        rest.push(...sources.map((citation): NeutralEvent => ({ type: 'citation', block: at, citation })));
      if (content.kind === 'reasoning') rest.push({ type: 'signature', block: at, signature });
      return [start, ...rest, end].filter((event) => event !== undefined);
    });
    const hasCall = blocks.some(([{ kind }]) => kind === 'tool_call');
    // No provider thinks beside what it writes.
    const thinks = blocks.some(([{ kind }]) => kind.endsWith('reasoning'));
    const hasRefusal = blocks.some(([{ kind }]) => kind === 'refusal');
    const whole = hasRefusal ? 'refusal' : hasCall ? 'tool_calls' : 'stop';
    return answer(reason === 'stop' ? whole : reason, takesTurns && !thinks ? interleaved(told) : told.flat());
  });

/** Blocks begin in their order; what follows comes by turns. */
function interleaved(told: readonly NeutralEvent[][]): NeutralEvent[] {
  const starts = told.map(([start]) => start).filter((event) => event !== undefined);
  const rests = told.map(([, ...rest]) => rest);
  const most = Math.max(0, ...rests.map(({ length }) => length));
  const turns = Array.from({ length: most }, (_, at) => rests.flatMap((rest) => rest.slice(at, at + 1)));
  return [...starts, ...turns.flat()];
}

/** What a block says, whatever the order in which several are written, and without what this gateway names itself. */
function said(events: readonly NeutralEvent[]): unknown {
  const blocks = new Map<number, unknown[]>();
  const others: unknown[] = [];
  for (const event of events) {
    if (event.type === 'start') continue;
    if (!('block' in event)) others.push(event);
    else blocks.set(event.block, [...(blocks.get(event.block) ?? []), withoutId(event)]);
  }
  return { blocks: [...blocks.values()], others };
}

function withoutId(event: NeutralEvent): unknown {
  if (event.type !== 'block_start' || !('id' in event.content)) return event;
  const { id, ...content } = event.content;
  expect(id).toMatch(/^rs_a1_\d+$/);
  return { ...event, content };
}

/** Of a whole answer the pieces of a text are one. */
function joined(events: readonly NeutralEvent[]): NeutralEvent[] {
  const result: NeutralEvent[] = [];
  for (const event of events) {
    const before = result.at(-1);
    const continues = event.type === 'delta' && before?.type === 'delta' && before.block === event.block;
    if (continues) result[result.length - 1] = { ...before, text: before.text + event.text };
    else result.push(event);
  }
  return result;
}

describe('events as a response and back', () => {
  const reparsed = (frames: readonly JsonObject[]): NeutralEvent[] => {
    const parser = new ResponseEventParser();
    return [...frames.flatMap((frame) => parser.parse(frame)), ...parser.end()];
  };

  it('are the same, streamed or whole', () => {
    fc.assert(
      fc.property(answers, (events) => {
        expect(said(reparsed(rendered(events)))).toEqual(said(events));
        const whole = renderWholeResponse(events, lookOf());
        const inOrder = said(events) as { blocks: NeutralEvent[][]; others: unknown[] };
        const blocks = inOrder.blocks.map(joined);
        expect(said(parseWholeResponse(whole))).toEqual({ ...inOrder, blocks });
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it('are valid by OpenAI’s own description', () => {
    if (!schemas) return;
    fc.assert(
      fc.property(answers, (events) => {
        expectValid(rendered(events));
        expect(schemas.problemsOf('Response', renderWholeResponse(events, lookOf()))).toEqual([]);
      }),
      { seed: SEED, numRuns: 40 },
    );
  });

  it('are understood by the official client, which puts together what the last frame says', async () => {
    const [events] = fc.sample(answers, { seed: SEED, numRuns: 1 });
    const all = [events ?? [], ...fc.sample(answers, { seed: SEED + 1, numRuns: 20 })];
    for (const some of all) {
      const frames = rendered(some);
      const lines = frames.map((frame) => `${JSON.stringify(frame)}\n`).join('');
      const body = new Response(lines).body;
      if (!body) throw new Error('no body');
      const final = await ResponseStream.fromReadableStream(body).finalResponse();
      const { output, status, usage } = last(frames).response;
      expect(
        JSON.parse(JSON.stringify({ output: final.output, status: final.status, usage: final.usage })),
      ).toMatchObject({
        ...{ output, status, usage },
      });
    }
  });
});
