import Anthropic from '@anthropic-ai/sdk';
import fc from 'fast-check';
import { type NeutralAnswer, neutralAnswerOf } from '../../../../test/support/neutral-answer';
import { recordedCalls } from '../../../../test/support/recorded-streams';
import { NO_TOKENS } from '../../../catalogue/price';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { AnswerLook } from '../dialect';
import { isRefusal } from '../invalid-request';
import { parseObject } from '../json-value';
import type { NeutralBlock, NeutralEvent, NeutralFinishReason } from '../neutral/neutral-event';
import { eventsOfMessage, MessageEventParser } from './event-parser';
import { MessageEventRenderer, renderMessage } from './event-renderer';
import { parseMessagesRequest } from './messages-request';

const SEED = 20_261_121;

function look(): AnswerLook {
  const body = { model: 'claude', max_tokens: 9, messages: [{ role: 'user', content: 'Hi' }] };
  const request = parseMessagesRequest(Buffer.from(JSON.stringify(body)));
  if (isRefusal(request)) throw new Error('refused');
  return { model: 'claude', showUsage: true, request, answerId: '0193', nowMs: 0 };
}

const LOOK = look();

function framesOf(stream: string): JsonObject[] {
  return stream
    .split('\n\n')
    .filter(Boolean)
    .map((block) => {
      const data = /^(?:event: .*\n)?data: (.*)$/.exec(block)?.[1] ?? '';
      const frame = parseObject(data);
      if (!frame) throw new Error(`no frame: ${block}`);
      if (block.startsWith('event: ')) expect(block.startsWith(`event: ${String(frame.type)}\n`)).toBe(true);
      return frame;
    });
}

function eventsOf(frames: readonly JsonObject[]): NeutralEvent[] {
  const parser = new MessageEventParser();
  return [...frames.flatMap((frame) => parser.parse(frame)), ...parser.end()];
}

function streamOf(events: readonly NeutralEvent[]): string {
  const renderer = new MessageEventRenderer(LOOK);
  return events.map((event) => renderer.render(event)).join('') + renderer.terminal();
}

/** As the official client puts it together; it throws where events are out of order. */
async function readByClient(stream: string): Promise<Anthropic.Message> {
  const headers = { 'content-type': 'text/event-stream' };
  const client = new Anthropic({ apiKey: 'none', fetch: () => Promise.resolve(new Response(stream, { headers })) });
  const params = { model: 'claude', max_tokens: 9, messages: [{ role: 'user' as const, content: 'Hi' }] };
  return client.messages.stream(params).finalMessage();
}

const START: NeutralEvent = { type: 'start', id: 'chatcmpl-1', model: 'gpt' };
const END: NeutralEvent = { type: 'end' };
const block = (number: number, content: NeutralBlock, ...texts: readonly string[]): NeutralEvent[] => [
  { type: 'block_start', block: number, content },
  ...texts.map((text): NeutralEvent => ({ type: 'delta', block: number, text })),
  { type: 'block_end', block: number },
];
const call = (name: string, tool: 'function' | 'custom' = 'function'): NeutralBlock => ({
  kind: 'tool_call',
  tool,
  callId: `call_${name}`,
  name,
});
const finish = (reason: NeutralFinishReason): NeutralEvent => ({ type: 'finish', reason });

const TEXT = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 });
const PIECES = fc.array(TEXT, { minLength: 1, maxLength: 4 });
const CITATION = fc.record(
  { url: fc.constantFrom('https://a.example/', 'http://b.example/x'), title: TEXT, citedText: TEXT },
  { requiredKeys: ['url'] },
);

type Block = (number: number) => NeutralEvent[];
const PROSE: fc.Arbitrary<Block> = fc
  .tuple(PIECES, fc.array(CITATION, { maxLength: 2 }))
  .map(([pieces, citations]) => (number) => {
    const events = block(number, { kind: 'text' }, ...pieces);
    const cited = citations.map((citation): NeutralEvent => ({ type: 'citation', block: number, citation }));
    return [...events.slice(0, -1), ...cited, ...events.slice(-1)];
  });
const THOUGHT: fc.Arbitrary<Block> = fc
  .tuple(PIECES, fc.option(TEXT, { nil: undefined }))
  .map(([pieces, signature]) => (number) => {
    const events = block(number, { kind: 'reasoning', isSummary: true }, ...pieces);
    const signed: NeutralEvent[] = signature === undefined ? [] : [{ type: 'signature', block: number, signature }];
    return [...events.slice(0, -1), ...signed, ...events.slice(-1)];
  });
const REDACTED: fc.Arbitrary<Block> = TEXT.map(
  (data) => (number) => block(number, { kind: 'redacted_reasoning', data }),
);
const CALL: fc.Arbitrary<Block> = fc
  .tuple(fc.dictionary(TEXT, fc.jsonValue()), fc.nat(20))
  .map(([input, cut]) => (number) => {
    const json = JSON.stringify(input);
    const pieces = [json.slice(0, cut), json.slice(cut)].filter(Boolean);
    return block(number, call(`tool_${number}`), ...pieces);
  });
const COUNT = fc.nat(100_000);
const TOKENS = fc
  .record({ inputUncached: COUNT, inputCached: COUNT, cacheWrite: COUNT, output: COUNT, reasoning: COUNT })
  .map((counts) => ({ ...NO_TOKENS, ...counts }));

const ANSWER = fc
  .record({
    blocks: fc.array(fc.oneof(PROSE, THOUGHT, REDACTED, CALL), { maxLength: 6 }),
    end: fc.constantFrom<NeutralFinishReason>('stop', 'length', 'refusal', 'pause'),
    stopSequence: fc.option(TEXT, { nil: undefined }),
    tokens: TOKENS,
  })
  .map(({ blocks, end, stopSequence, tokens }) => {
    const written = blocks.map((events, number) => events(number));
    const calls = written.flat().some((event) => event.type === 'block_start' && event.content.kind === 'tool_call');
    const reason = calls && end === 'stop' ? 'tool_calls' : end;
    const stop = reason === 'stop' && stopSequence !== undefined ? { stopSequence } : {};
    const ending: NeutralEvent[] = [{ type: 'finish', reason, ...stop }, { type: 'usage', tokens }, END];
    return { written, ending };
  });

const toText = ({ content }: Anthropic.Message): string =>
  content.map((part) => (part.type === 'text' ? part.text : '')).join('');
const textIn = ({ blocks }: NeutralAnswer): string =>
  blocks.map(({ content, text }) => (content.kind === 'text' ? text : '')).join('');

describe('events of an Anthropic message', () => {
  it('are what they were after they were rendered and parsed, streamed and whole', () => {
    fc.assert(
      fc.property(ANSWER, ({ written, ending }) => {
        const events = [START, ...written.flat(), ...ending];
        const said = neutralAnswerOf(events);
        expect(neutralAnswerOf(eventsOf(framesOf(streamOf(events))))).toEqual(said);
        // A whole answer holds its tools' input as values: only their spelling may differ.
        const whole = neutralAnswerOf(eventsOfMessage(renderMessage(events, LOOK)));
        expect(whole).toEqual(spelled(said));
      }),
      { seed: SEED },
    );
  });

  it('keep blocks apart that were written by turns, which no client of this dialect knows', () => {
    fc.assert(
      fc.property(ANSWER, fc.infiniteStream(fc.nat(5)), ({ written, ending }, turns) => {
        const events = [START, ...shuffled(written, turns), ...ending];
        const said = neutralAnswerOf(events);
        expect(neutralAnswerOf(eventsOf(framesOf(streamOf(events))))).toEqual(said);
      }),
      { seed: SEED },
    );
  });

  it('are put together by the official client as they were meant', async () => {
    await fc.assert(
      fc.asyncProperty(ANSWER, async ({ written, ending }) => {
        const events = [START, ...written.flat(), ...ending];
        const message = await readByClient(streamOf(events));
        expect(JSON.parse(JSON.stringify(message))).toMatchObject(
          JSON.parse(JSON.stringify(renderMessage(events, LOOK))),
        );
      }),
      { seed: SEED, numRuns: 50 },
    );
  });

  it('open a stream with the model that the client asked for and an id of the dialect', () => {
    expect(framesOf(new MessageEventRenderer(LOOK).render(START))).toEqual([
      {
        type: 'message_start',
        message: {
          id: 'msg_0193',
          type: 'message',
          role: 'assistant',
          model: 'claude',
          content: [],
          stop_reason: null,
          stop_sequence: null,
          usage: {
            input_tokens: 0,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: 0,
            output_tokens: 0,
          },
        },
      },
    ]);
  });

  it.each<[NeutralFinishReason, NeutralEvent[], string]>([
    ['stop', [], 'end_turn'],
    ['tool_calls', block(0, call('look')), 'tool_use'],
    ['length', [], 'max_tokens'],
    ['content_filter', [], 'refusal'],
    ['refusal', block(0, { kind: 'refusal' }, 'I will not.'), 'refusal'],
    ['pause', [], 'pause_turn'],
  ])('end with %s after %j as %s', (reason, blocks, stop_reason) => {
    expect(renderMessage([START, ...blocks, finish(reason), END], LOOK)).toMatchObject({ stop_reason });
  });

  it('show a refusal as text: it is what there is to read', () => {
    const events = [START, ...block(0, { kind: 'refusal' }, 'I will ', 'not.'), finish('refusal'), END];
    expect(renderMessage(events, LOOK)).toMatchObject({
      content: [{ type: 'text', text: 'I will not.' }],
      stop_reason: 'refusal',
      stop_details: { type: 'refusal' },
    });
  });

  it('leave out what is empty, which no provider takes back, and tools that the provider ran itself', () => {
    const events = [
      START,
      ...block(0, { kind: 'text' }),
      ...block(1, { kind: 'reasoning', isSummary: false }),
      ...block(2, { kind: 'provider_tool', name: 'web_search' }),
      ...block(3, { kind: 'text' }, 'Found.'),
      finish('stop'),
      END,
    ];
    expect(renderMessage(events, LOOK).content).toEqual([{ type: 'text', text: 'Found.' }]);
    expect(framesOf(streamOf(events)).filter(({ index }) => index !== undefined)).toHaveLength(3);
  });

  it('give tools an object for input, whatever the model wrote', () => {
    const inputs = ['', '{"at":1}', '[1]', '{"at":'].map((text, at) =>
      block(at, call(`t${at}`), text).filter((e) => e.type !== 'delta' || text !== ''),
    );
    const custom = block(4, call('patch', 'custom'), 'a "quoted"\n', 'line \u{1f600}');
    const message = renderMessage([START, ...inputs.flat(), ...custom, finish('tool_calls'), END], LOOK);
    const content = message.content as readonly JsonObject[];
    expect(content.map(({ input }) => input)).toEqual([
      {},
      { at: 1 },
      { arguments: '[1]' },
      { arguments: '{"at":' },
      { input: 'a "quoted"\nline \u{1f600}' },
    ]);
  });

  it('are cut as a provider would: what is open ends, the reason is length, the usage is what was billed', async () => {
    const renderer = new MessageEventRenderer(LOOK);
    const open: NeutralEvent[] = [
      START,
      { type: 'block_start', block: 0, content: { kind: 'text' } },
      { type: 'delta', block: 0, text: 'Once upon' },
      { type: 'block_start', block: 1, content: call('look') },
      { type: 'delta', block: 1, text: '{"at"' },
    ];
    const stream =
      open.map((event) => renderer.render(event)).join('') +
      renderer.cut({ ...NO_TOKENS, inputUncached: 7, inputCached: 2, output: 3, reasoning: 4 }) +
      renderer.terminal();
    expect(await readByClient(stream)).toMatchObject({
      content: [
        { type: 'text', text: 'Once upon' },
        { type: 'tool_use', name: 'look' },
      ],
      stop_reason: 'max_tokens',
      usage: { input_tokens: 7, cache_read_input_tokens: 2, output_tokens: 7 },
    });
    const early = new MessageEventRenderer(LOOK);
    expect(framesOf(early.cut(undefined)).map(({ type }) => type)).toEqual(['message_start', 'message_delta']);
  });

  it('tell why a provider refused, where the model wrote nothing', () => {
    const explanation = 'This request was blocked.';
    const message = { content: [], stop_reason: 'refusal', stop_details: { type: 'refusal', explanation } };
    expect(neutralAnswerOf(eventsOfMessage(message))).toMatchObject({
      blocks: [{ content: { kind: 'refusal' }, text: explanation }],
      finish: { reason: 'refusal' },
    });
  });
});

const calls = recordedCalls()?.filter(({ dialect }) => dialect === 'anthropic-messages');
const missing = calls ? '' : ': ../shared/recorded-streams is not on this machine';

(calls ? describe : describe.skip)(`recorded messages${missing}`, () => {
  it.each((calls ?? []).map((recorded) => [recorded.name, recorded] as const))(
    '%s says the same after it was rendered and parsed, and to the official client',
    async (_, { bytes, isStream }) => {
      const parsed: unknown = isStream ? undefined : JSON.parse(bytes.toString('utf8'));
      const events = isObject(parsed) ? eventsOfMessage(parsed) : eventsOf(framesOf(bytes.toString('utf8')));
      const said = neutralAnswerOf(events);
      expect(said.finish).toBeDefined();
      const stream = streamOf(events);
      const shown = said.blocks.filter(({ content }) => content.kind !== 'provider_tool');
      const again = neutralAnswerOf(eventsOf(framesOf(stream)));
      const asText = shown.map((told) =>
        told.content.kind === 'refusal' ? { ...told, content: { kind: 'text' } } : told,
      );
      const withText = asText.filter(({ content, text }) => content.kind !== 'text' || text !== '');
      expect(again).toEqual({ ...said, blocks: withText });
      const message = await readByClient(stream);
      expect(toText(message)).toBe(textIn(again));
      expect(message.stop_reason).toBe(renderMessage(events, LOOK).stop_reason);
    },
  );
});

/** Tool input in the spelling of JSON.stringify. */
function spelled(answer: NeutralAnswer): NeutralAnswer {
  const blocks = answer.blocks.map((told) =>
    told.content.kind === 'tool_call' ? { ...told, text: JSON.stringify(JSON.parse(told.text)) } : told,
  );
  return { ...answer, blocks };
}

/** Tool calls by turns, each begun in its place; other blocks are written in one go. */
function shuffled(written: readonly (readonly NeutralEvent[])[], turns: Iterable<number>): NeutralEvent[] {
  const numbers = turns[Symbol.iterator]();
  const events: NeutralEvent[] = [];
  const left: NeutralEvent[][] = [];
  const take = (queue: NeutralEvent[]): void => {
    const event = queue.shift();
    if (event) events.push(event);
    if (queue.length === 0) left.splice(left.indexOf(queue), 1);
  };
  for (const block of written) {
    const queue = [...block];
    left.push(queue);
    take(queue);
    for (let turn = 0; turn < 3; turn++) {
      const chosen = left[Number(numbers.next().value) % Math.max(1, left.length)];
      if (chosen) take(chosen);
    }
  }
  for (let queue = left[0]; queue; queue = left[0]) take(queue);
  return events;
}
