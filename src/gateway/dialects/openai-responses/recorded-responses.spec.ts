import { ResponseStream } from 'openai/lib/responses/ResponseStream';

import { openAiSchemas } from '../../../../test/support/openai-schemas';
import { type RecordedCall, recordedCalls, type RecordedDialect } from '../../../../test/support/recorded-streams';
import type { TokenCounts } from '../../../catalogue/price';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { ApiDialect } from '../../../upstreams/upstream.port';
import type { AnswerLook } from '../dialect';
import { translationOf } from '../dialects';
import { isRefusal } from '../invalid-request';
import { isArray, parseObject } from '../json-value';
import type { NeutralEvent } from '../neutral/neutral-event';
import { renderWholeResponse, ResponseEventRenderer } from './event-renderer';
import { parseResponsesRequest } from './responses-request';
import { usageFromResponses } from './usage';

const schemas = openAiSchemas();
const calls = recordedCalls()?.filter(({ dialect }) => dialect !== 'openai-embedding');
const WIRE: Readonly<Record<Exclude<RecordedDialect, 'openai-embedding'>, ApiDialect>> = {
  'openai-chat': 'openai-chat',
  'anthropic-messages': 'anthropic-messages',
  'openai-responses': 'openai-responses',
};

interface Told {
  readonly text: string;
  readonly refusal: string;
  readonly calls: readonly { readonly name: string; readonly callId: string; readonly written: string }[];
  readonly signatures: readonly string[];
  readonly usage: TokenCounts | undefined;
}

function framesOf(call: RecordedCall): JsonObject[] {
  return call.bytes
    .toString('utf8')
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => parseObject(line.slice('data: '.length)) ?? {});
}

function eventsOf(call: RecordedCall): readonly NeutralEvent[] {
  const wire = WIRE[call.dialect as keyof typeof WIRE];
  if (!call.isStream) return translationOf(wire).parseAnswer(JSON.parse(call.bytes.toString('utf8')) as JsonObject);
  const parser = translationOf(wire).eventParser();
  return [...framesOf(call).flatMap((frame) => parser.parse(frame)), ...parser.end()];
}

function toldBy(events: readonly NeutralEvent[]): Told {
  const kinds = new Map<number, string>();
  const written = new Map<number, string>();
  const made: { block: number; name: string; callId: string }[] = [];
  const signatures: string[] = [];
  let usage: TokenCounts | undefined;
  for (const event of events) {
    if (event.type === 'block_start') {
      kinds.set(event.block, event.content.kind);
      if (event.content.kind === 'tool_call') made.push({ block: event.block, ...event.content });
      if (event.content.kind === 'redacted_reasoning') signatures.push(event.content.data);
    }
    if (event.type === 'delta') written.set(event.block, (written.get(event.block) ?? '') + event.text);
    if (event.type === 'signature') signatures.push(event.signature);
    if (event.type === 'usage') usage = event.tokens;
  }
  const all = (kind: string): string =>
    [...kinds].map(([block, known]) => (known === kind ? (written.get(block) ?? '') : '')).join('');
  return {
    text: all('text'),
    refusal: all('refusal'),
    calls: made.map(({ block, name, callId }) => ({ name, callId, written: written.get(block) ?? '' })),
    signatures,
    usage,
  };
}

/** The same, read by hand from the items of a whole response. */
function toldIn({ output, usage }: JsonObject): Told {
  const items = isArray(output) ? output.filter(isObject) : [];
  const parts = items.flatMap(({ type, content }) =>
    type === 'message' && isArray(content) ? content : [],
  ) as readonly {
    readonly text?: string;
    readonly refusal?: string;
  }[];
  return {
    text: parts.map(({ text }) => text ?? '').join(''),
    refusal: parts.map(({ refusal }) => refusal ?? '').join(''),
    calls: items
      .filter(({ type }) => type === 'function_call' || type === 'custom_tool_call')
      .map((item) => ({
        name: String(item.name),
        callId: String(item.call_id),
        written: String(item.arguments ?? item.input),
      })),
    signatures: items.map(({ encrypted_content: data }) => data).filter((data) => typeof data === 'string'),
    usage: usageFromResponses(usage),
  };
}

function lookOf(): AnswerLook {
  const request = parseResponsesRequest(Buffer.from('{"model":"m","input":"Hi"}'));
  if (isRefusal(request)) throw new Error(JSON.stringify(request));
  return { model: 'm', showUsage: true, request, answerId: 'a1', nowMs: 0 };
}

describe('recorded answers', () => {
  if (!calls) {
    it.skip('are not on this machine', () => undefined);
    return;
  }
  const named = calls.map((call) => [call.name, call] as const);
  const ofResponses = named.filter(([, { dialect }]) => dialect === 'openai-responses');

  it('are there', () => {
    expect(ofResponses.length).toBeGreaterThanOrEqual(19);
    expect(named.length).toBeGreaterThan(50);
  });

  it.each(ofResponses)('of this dialect say the same as events: %s', (_, call) => {
    const told = toldBy(eventsOf(call));
    if (!call.isStream) {
      expect(told).toEqual(toldIn(JSON.parse(call.bytes.toString('utf8')) as JsonObject));
      return;
    }
    const frames = framesOf(call);
    const last = frames.at(-1)?.response;
    if (!isObject(last)) throw new Error('a stream ends with a response');
    // One file was made by hand, and names its items only while they are streamed.
    const done = frames.filter(({ type }) => type === 'response.output_item.done').map(({ item }) => item);
    expect(told).toEqual(toldIn({ ...last, output: done }));
  });

  it.each(named)('of any dialect are understood by the official client as a response: %s', async (_, call) => {
    const events = eventsOf(call);
    const renderer = new ResponseEventRenderer(lookOf());
    const text = events.map((event) => renderer.render(event)).join('') + renderer.terminal();
    const frames = text
      .split('\n')
      .filter((line) => line.startsWith('data: '))
      .map((line) => JSON.parse(line.slice('data: '.length)) as JsonObject);
    for (const frame of frames) expect(schemas?.problemsOf('ResponseStreamEvent', frame) ?? []).toEqual([]);
    const whole = renderWholeResponse(events, lookOf());
    expect(schemas?.problemsOf('Response', whole) ?? []).toEqual([]);

    const body = new Response(frames.map((frame) => `${JSON.stringify(frame)}\n`).join('')).body;
    if (!body) throw new Error('no body');
    const final = await ResponseStream.fromReadableStream(body).finalResponse();
    const { signatures: proofs, ...told } = toldBy(events);
    for (const response of [whole, { ...final }]) {
      const { signatures, ...shown } = toldIn(response);
      expect(shown).toEqual({ ...told, calls: told.calls.map((made) => ({ ...made, written: made.written || '{}' })) });
      expect(signatures.map((signature) => signature.replace('redacted:', ''))).toEqual(proofs);
    }
    expect(final.output_text).toBe(told.text);
  });
});
