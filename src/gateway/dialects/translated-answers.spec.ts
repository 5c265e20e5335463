import * as fc from 'fast-check';

import { NO_TOKENS, type TokenCounts } from '../../catalogue/price';
import type { JsonObject } from '../../kernel/json-object';
import type { AnswerLook } from './dialect';
import { DIALECTS, translationOf } from './dialects';
import { isRefusal } from './invalid-request';
import type { NeutralBlock, NeutralEvent } from './neutral/neutral-event';

const CHATS = ['openai-chat', 'openai-responses', 'anthropic-messages'] as const;
type Chat = (typeof CHATS)[number];
const PAIRS = CHATS.flatMap((provider) => CHATS.map((client) => ({ provider, client })));

const BODIES: Readonly<Record<Chat, object>> = {
  'openai-chat': { messages: [{ role: 'user', content: 'Hi' }] },
  'openai-responses': { input: 'Hi', include: ['reasoning.encrypted_content'] },
  'anthropic-messages': { max_tokens: 10, messages: [{ role: 'user', content: 'Hi' }] },
};

function lookOf(dialect: Chat): AnswerLook {
  const body = { model: 'm', stream: true, ...BODIES[dialect] };
  const request = DIALECTS[dialect].parseRequest(Buffer.from(JSON.stringify(body)));
  if (isRefusal(request)) throw new Error(JSON.stringify(request));
  return { model: 'm', showUsage: true, request, answerId: 'abc', nowMs: 1_700_000_000_000 };
}

type Way = (events: readonly NeutralEvent[], dialect: Chat) => readonly NeutralEvent[];

/** Said by one dialect's renderer and heard by its parser. */
const streamed: Way = (events, dialect) => {
  const translation = translationOf(dialect);
  const renderer = translation.eventRenderer(lookOf(dialect));
  const stream = events.map((event) => renderer.render(event)).join('') + renderer.terminal();
  const data = stream.split('\n').flatMap((line) => (line.startsWith('data: {') ? [line.slice('data: '.length)] : []));
  const parser = translation.eventParser();
  return [...data.flatMap((json) => parser.parse(JSON.parse(json) as JsonObject)), ...parser.end()];
};

const whole: Way = (events, dialect) => {
  const body = translationOf(dialect).renderAnswer(events, lookOf(dialect));
  return translationOf(dialect).parseAnswer(JSON.parse(JSON.stringify(body)) as JsonObject);
};

interface Heard {
  text: string;
  thoughts: string;
  readonly proofs: string[];
  readonly calls: { id: string; name: string; args: string }[];
  readonly cited: string[];
  reason: string;
  tokens: TokenCounts | undefined;
}

function heardIn(events: readonly NeutralEvent[]): object {
  const heard: Heard = { text: '', thoughts: '', proofs: [], calls: [], cited: [], reason: '', tokens: undefined };
  const blocks: NeutralBlock[] = [];
  const calls = new Map<number, Heard['calls'][number]>();
  for (const event of events) {
    if (event.type === 'block_start') {
      const { content } = event;
      blocks.push(content);
      if (content.kind === 'redacted_reasoning') heard.proofs.push(content.data);
      if (content.kind === 'tool_call') {
        const call = { id: content.callId, name: content.name, args: '' };
        heard.calls.push(call);
        calls.set(event.block, call);
      }
    } else if (event.type === 'delta') {
      const call = calls.get(event.block);
      if (call) call.args += event.text;
      else if (blocks[event.block]?.kind === 'reasoning') heard.thoughts += event.text;
      else heard.text += event.text;
    } else if (event.type === 'signature') heard.proofs.push(event.signature);
    else if (event.type === 'citation') heard.cited.push(event.citation.url);
    else if (event.type === 'finish') heard.reason = event.reason;
    else if (event.type === 'usage') heard.tokens = event.tokens;
  }
  return {
    ...heard,
    calls: heard.calls.map(({ args, ...call }) => ({ ...call, args: JSON.parse(args || '{}') as unknown })),
  };
}

const piece = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }).filter((text) => text.trim() !== '');
const pieces = fc.array(piece, { minLength: 1, maxLength: 3 });
const text = pieces.map((deltas) => ({ content: { kind: 'text' } as const, deltas, more: [] as object[] }));
const cited = fc.tuple(text, fc.webUrl()).map(([block, url]) => ({
  ...block,
  more: [{ type: 'citation', citation: { url, title: 'A' } }],
}));
const thought = fc.tuple(pieces, piece).map(([deltas, signature]) => ({
  content: { kind: 'reasoning', isSummary: false } as const,
  deltas,
  more: [{ type: 'signature', signature }] as object[],
}));
const redacted = piece.map((data) => ({
  content: { kind: 'redacted_reasoning', data } as const,
  deltas: [],
  more: [],
}));
const calls = fc
  .uniqueArray(fc.tuple(fc.stringMatching(/^[a-z]\w{3,8}$/), fc.dictionary(piece, fc.jsonValue()), fc.nat(30)), {
    selector: ([id]) => id,
    maxLength: 3,
  })
  .map((all) =>
    all.map(([callId, args, cut]) => {
      const json = JSON.stringify(args);
      const deltas = [json.slice(0, cut), json.slice(cut)].filter(Boolean);
      return {
        content: { kind: 'tool_call', tool: 'function', callId, name: `f_${callId}` } as const,
        deltas,
        more: [],
      };
    }),
  );
const tokens = fc
  .record({ inputUncached: fc.nat(9999), inputCached: fc.nat(9999), output: fc.nat(9999), reasoning: fc.nat(9999) })
  .map((counts) => ({ ...NO_TOKENS, ...counts }));

const answers = fc
  .record({
    thoughts: fc.array(fc.oneof(thought, redacted), { maxLength: 2 }),
    texts: fc.array(fc.oneof(text, cited), { maxLength: 2 }),
    calls,
    reason: fc.constantFrom('stop', 'length'),
    tokens,
  })
  .chain((parts) => {
    const blocks = [...parts.thoughts, ...parts.texts, ...parts.calls];
    return fc.tuple(fc.constant(parts), fc.shuffledSubarray(blocks, { minLength: blocks.length }));
  })
  .map(([parts, blocks]) => {
    const reason = parts.reason === 'stop' && parts.calls.length > 0 ? 'tool_calls' : parts.reason;
    return [
      { type: 'start', id: 'a', model: 'm', createdSeconds: 7 },
      ...blocks.flatMap(({ content, deltas, more }, block) => [
        { type: 'block_start', block, content },
        ...deltas.map((delta) => ({ type: 'delta', block, text: delta })),
        ...more.map((event) => ({ ...event, block })),
        { type: 'block_end', block },
      ]),
      { type: 'finish', reason },
      { type: 'usage', tokens: parts.tokens },
      { type: 'end' },
    ] as NeutralEvent[];
  });

describe.each(PAIRS)('an answer in $provider, said in $client', ({ provider, client }) => {
  it.each([
    ['streamed', streamed],
    ['whole', whole],
  ] as const)('says the same, %s', (_, way) => {
    fc.assert(
      fc.property(answers, (events) => {
        const fromProvider = way(events, provider);
        expect(heardIn(fromProvider)).toEqual(heardIn(events));
        expect(heardIn(way(fromProvider, client))).toEqual(heardIn(events));
      }),
    );
  });
});
