import { MessageStream } from '@anthropic-ai/sdk/lib/MessageStream';
import { isObject, type JsonObject } from '../../kernel/json-object';
import { openAiSchemas } from '../../../test/support/openai-schemas';
import { extent } from '../../../test/support/extent';
import { type RecordedCall, recordedCalls } from '../../../test/support/recorded-streams';
import { seeded } from '../../../test/support/seeded';
import { orderProblems, type SseEvent, sseEvents } from '../../../test/support/answers/stream-order';
import {
  asReadBy,
  CONVERSATIONS,
  type Conversation,
  questionOf,
  readBody,
  readStream,
  withParsedArguments,
} from '../../../test/support/answers/translated-answers';
import { dataOf } from '../stream/sse-frame';
import { SseSplitter } from '../stream/sse-splitter';
import type { AnswerLook } from './dialect';
import { DIALECTS, translationOf } from './dialects';
import { isRefusal } from './invalid-request';
import { parseObject } from './json-value';
import type { NeutralEvent } from './neutral/neutral-event';

const SEED = 20_261_121;
const SPLITS = extent(6, 200);
const MODEL = 'ours/model';

function lookOf(client: Conversation, isStream: boolean): AnswerLook {
  const request = DIALECTS[client].parseRequest(Buffer.from(JSON.stringify(questionOf(client, MODEL, isStream))));
  if (isRefusal(request)) throw new Error(JSON.stringify(request));
  return { model: MODEL, showUsage: true, request, answerId: 'an-answer', nowMs: 1_770_000_000_000 };
}

/** The JSON of each frame of a provider, however the network cuts it. */
function framesOf(bytes: Buffer, cuts: readonly number[] = []): readonly JsonObject[] {
  const frames: JsonObject[] = [];
  const splitter = new SseSplitter((block, start, end) => {
    const data = dataOf(block, start, end);
    const frame = data === '' || data === '[DONE]' ? undefined : parseObject(data);
    if (frame) frames.push(frame);
  });
  const ends = [...cuts, bytes.length];
  for (const [at, end] of ends.entries()) splitter.push(bytes.subarray(ends[at - 1] ?? 0, end));
  return frames;
}

function eventsOf(provider: Conversation, frames: readonly JsonObject[]): readonly NeutralEvent[] {
  const parser = translationOf(provider).eventParser();
  return [...frames.flatMap((frame) => parser.parse(frame)), ...parser.end()];
}

function renderStream(client: Conversation, events: readonly NeutralEvent[]): string {
  const renderer = translationOf(client).eventRenderer(lookOf(client, true));
  return events.map((event) => renderer.render(event)).join('') + renderer.terminal();
}

function renderWhole(client: Conversation, events: readonly NeutralEvent[]): JsonObject {
  return translationOf(client).renderAnswer(events, lookOf(client, false));
}

const dataIn = (stream: string): readonly string[] => sseEvents(stream).map(({ data }) => data);

/** Cuts of every size, also inside a character and inside a line ending. */
function cutsOf(length: number, random: () => number): readonly number[] {
  const longest = 1 + Math.floor(random() * 2 ** (1 + Math.floor(random() * 12)));
  const cuts: number[] = [];
  for (let at = 1 + Math.floor(random() * longest); at < length; at += 1 + Math.floor(random() * longest))
    cuts.push(at);
  return cuts;
}

const isConversation = (call: RecordedCall): call is RecordedCall & { dialect: Conversation } =>
  (CONVERSATIONS as readonly string[]).includes(call.dialect);
const isError = ({ name }: RecordedCall): boolean => name.includes('openai-error');

const recorded = recordedCalls()?.filter(isConversation);
const schemas = openAiSchemas();

if (!recorded || !schemas) {
  it.skip('recorded answers in another dialect (no recordings or schemas beside the project)', () => undefined);
} else {
  const answers = recorded.filter((call) => !isError(call));

  /** What OpenAI's own description has against an event that was rendered. */
  const schemaProblems = (client: Conversation, { data }: SseEvent): readonly string[] => {
    if (client === 'anthropic-messages' || data === '[DONE]') return [];
    // The description knows no streamed calls of custom tools; OpenAI sends them so.
    const problems =
      client === 'openai-chat'
        ? schemas.problemsOf(
            'CreateChatCompletionStreamResponse',
            JSON.parse(data.replace('"type":"custom"', '"type":"function"')),
          )
        : schemas.problemsOf('ResponseStreamEvent', JSON.parse(data));
    return problems.length > 0 ? [data, ...problems.slice(0, 5)] : [];
  };

  describe.each(CONVERSATIONS)('a client of %s', (client) => {
    describe.each(answers.filter(({ isStream }) => isStream))('is told by the stream $name', (call) => {
      const said = readStream(call.dialect, dataInRecording(call));
      const expected = asReadBy(client, call.dialect, call, said);
      let events: readonly NeutralEvent[];
      let stream: string;

      beforeAll(() => {
        events = eventsOf(call.dialect, framesOf(call.bytes));
        stream = renderStream(client, events);
      });

      it('the same text, thoughts, tool calls, end and usage', () => {
        expect(readStream(client, dataIn(stream))).toEqual(expected);
      });

      it('in frames that its SDK knows, in their order', async () => {
        const rendered = sseEvents(stream);
        expect(orderProblems(client, rendered)).toEqual([]);
        expect(rendered.flatMap((event) => schemaProblems(client, event))).toEqual([]);
        if (client === 'anthropic-messages') {
          const message = await accumulated(rendered);
          expect(withParsedArguments(readBody(client, message))).toEqual(withParsedArguments(expected));
        }
      });

      it('the same when it asks for the whole answer', () => {
        const whole = renderWhole(client, events);
        expect(withParsedArguments(readBody(client, whole))).toEqual(withParsedArguments(expected));
        expect(bodyProblems(client, whole)).toEqual([]);
      });

      it('the same when it is parsed again, and rendered again', () => {
        const again = eventsOf(client, framesOf(Buffer.from(stream)));
        expect(readStream(client, dataIn(renderStream(client, again)))).toEqual(expected);
      });

      it(`the same wherever the network cuts it: ${SPLITS} times, seed ${SEED}`, () => {
        const random = seeded(SEED);
        for (let split = 0; split < SPLITS; split += 1) {
          const cut = framesOf(call.bytes, cutsOf(call.bytes.length, random));
          if (renderStream(client, eventsOf(call.dialect, cut)) !== stream) throw new Error(`split ${split} differs`);
        }
      });
    });

    it.each(answers.filter(({ isStream }) => !isStream))('is told the same by the body $name', (call) => {
      const body = parseObject(call.bytes.toString());
      if (!body) throw new Error('no JSON');
      const expected = withParsedArguments(asReadBy(client, call.dialect, call, readBody(call.dialect, body)));
      const events = translationOf(call.dialect).parseAnswer(body);
      const whole = renderWhole(client, events);
      expect(withParsedArguments(readBody(client, whole))).toEqual(expected);
      expect(bodyProblems(client, whole)).toEqual([]);
      const stream = sseEvents(renderStream(client, events));
      expect(
        withParsedArguments(
          readStream(
            client,
            stream.map(({ data }) => data),
          ),
        ),
      ).toEqual(expected);
      expect(orderProblems(client, stream)).toEqual([]);
    });
  });

  it.each(recorded.filter(isError))('$name is an error, not an answer', (call) => {
    const dialect = DIALECTS[call.dialect];
    if (!call.isStream) {
      expect(dialect.readAnswer(call.bytes)?.errorEvent).toMatchObject({ code: 'insufficient_quota' });
      return;
    }
    const reading = dialect.streamReading(lookOf(call.dialect, true).request);
    const errors = framesOf(call.bytes).map((frame) => reading.errorIn(frame));
    expect(errors.find((error) => error !== undefined)).toMatchObject({ code: 'insufficient_quota' });
  });

  function bodyProblems(client: Conversation, body: JsonObject): readonly string[] {
    if (client === 'openai-chat') return schemas?.problemsOf('CreateChatCompletionResponse', body) ?? [];
    if (client === 'openai-responses') return schemas?.problemsOf('Response', body) ?? [];
    return messageProblems(body);
  }
}

function dataInRecording({ bytes }: RecordedCall): readonly string[] {
  return sseEvents(bytes.toString()).map(({ data }) => data);
}

/** As Anthropic's own SDK puts a stream together. */
async function accumulated(events: readonly SseEvent[]): Promise<unknown> {
  const lines = events.map(({ data }) => `${data}\n`);
  const readable = new ReadableStream({
    start: (controller) => {
      for (const line of lines) controller.enqueue(Buffer.from(line));
      controller.close();
    },
  });
  return MessageStream.fromReadableStream(readable).finalMessage();
}

/** By Anthropic's documentation: what every message has. */
function messageProblems(body: JsonObject): readonly string[] {
  const { usage, content } = body;
  const problems = Object.entries({
    id: typeof body.id === 'string' && body.id.startsWith('msg_'),
    type: body.type === 'message',
    role: body.role === 'assistant',
    model: body.model === MODEL,
    content: Array.isArray(content),
    stop_reason: typeof body.stop_reason === 'string',
    stop_sequence: body.stop_sequence === null || typeof body.stop_sequence === 'string',
    usage: isObject(usage) && typeof usage.input_tokens === 'number' && typeof usage.output_tokens === 'number',
  });
  return problems.filter(([, isRight]) => !isRight).map(([field]) => field);
}
