import * as fc from 'fast-check';

import { DIALECTS, translationOf } from './dialects';
import { isRefusal } from './invalid-request';
import type { NeutralAssistantPart, NeutralRequest, NeutralUserPart } from './neutral/neutral-request';

/** A model that takes all there is, and sees what it is sent as it was meant: read again by the dialect's own reader. */
const TARGET = { upstreamModel: 'claude-opus-4-8', maxOutputTokens: 4096 };

function understood(dialect: keyof typeof DIALECTS, body: Buffer): NeutralRequest {
  const request = DIALECTS[dialect].parseRequest(body);
  const meant = isRefusal(request) ? request : translationOf(dialect).toNeutral(request);
  if (isRefusal(meant)) throw new Error(JSON.stringify(meant));
  return meant;
}

function translated(dialect: keyof typeof DIALECTS, meant: NeutralRequest): Buffer {
  const body = translationOf(dialect).renderRequest(meant, TARGET);
  if (isRefusal(body)) throw new Error(JSON.stringify(body));
  return body;
}

/** What each turn says, whoever says it how: messages of one role in a row are one turn. */
function saidIn({ instructions, messages }: NeutralRequest): unknown {
  const said: { role: string; parts: unknown[] }[] = [];
  for (const { role, content } of [{ role: 'system', content: instructions }, ...messages]) {
    const parts = content.flatMap(partSaid);
    const last = said.at(-1);
    if (last?.role === role) last.parts.push(...parts);
    else if (parts.length > 0) said.push({ role, parts });
  }
  return said.map(({ role, parts }) => ({ role, said: joined(parts) }));
}

function partSaid(part: NeutralUserPart | NeutralAssistantPart): unknown[] {
  switch (part.type) {
    case 'text':
      return part.text.trim() === '' ? [] : [part.text];
    case 'image':
      return [{ image: part.source }];
    case 'document':
      return [{ document: part.source, name: part.filename }];
    case 'tool_call':
      return [{ called: part.name, with: JSON.parse(part.arguments) as unknown }];
    case 'tool_result':
      return [{ result: joined(part.content.flatMap(partSaid)) }];
    case 'audio':
      return [{ audio: part.data, format: part.format }];
    case 'refusal':
      return [part.text];
    case 'reasoning':
      return [];
  }
}

/** Texts that follow each other are one text. */
function joined(parts: readonly unknown[]): unknown[] {
  return parts.reduce<unknown[]>((all, part) => {
    const last = all.at(-1);
    if (typeof part !== 'string' || typeof last !== 'string') return [...all, part];
    return [...all.slice(0, -1), `${last}\n\n${part}`];
  }, []);
}

/** Which result belongs to which call: ids may be others, if each names the same call as before. */
function pairs({ messages }: NeutralRequest): unknown {
  const names = new Map<string, string>();
  const paired: unknown[] = [];
  for (const { content } of messages) {
    for (const part of content) {
      if (part.type === 'tool_call') names.set(part.callId, part.name);
      if (part.type === 'tool_result') paired.push(names.get(part.callId));
    }
  }
  return paired;
}

const word = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }).filter((text) => text.trim() !== '');
const name = fc.stringMatching(/^[a-z]\w{0,8}$/);
const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
const userContent = fc.oneof(
  word,
  fc.tuple(word, word, word).map(([before, data, after]) => [
    { type: 'text', text: before },
    { type: 'image_url', image_url: { url: `data:image/png;base64,${Buffer.from(data).toString('base64')}` } },
    { type: 'image_url', image_url: { url: 'https://a.example/b.png' } },
    { type: 'file', file: { filename: `${after}.pdf`, file_data: 'data:application/pdf;base64,aGk=' } },
    { type: 'text', text: after },
  ]),
);
const toolTurn = fc
  .uniqueArray(fc.tuple(word, name, fc.dictionary(name, fc.jsonValue()), word), {
    selector: ([id]) => id,
    minLength: 1,
    maxLength: 3,
  })
  .chain((calls) =>
    fc.tuple(fc.constant(calls), optional(word), fc.shuffledSubarray(calls, { minLength: calls.length })),
  )
  .map(([calls, content, answered]) => [
    {
      role: 'assistant',
      content: content ?? null,
      tool_calls: calls.map(([id, called, args]) => ({
        id,
        type: 'function',
        function: { name: called, arguments: JSON.stringify(args) },
      })),
    },
    ...answered.map(([id, , , result]) => ({ role: 'tool', tool_call_id: id, content: result })),
  ]);
const messages = fc
  .tuple(
    fc.array(word, { maxLength: 2 }),
    fc.array(
      fc.tuple(
        userContent,
        fc.oneof(
          word.map((content) => [{ role: 'assistant', content }]),
          toolTurn,
        ),
      ),
      {
        maxLength: 3,
      },
    ),
    userContent,
  )
  .map(([system, turns, last]) => [
    ...system.map((content, index) => ({ role: index === 0 ? 'system' : 'developer', content })),
    ...turns.flatMap(([content, answer]) => [{ role: 'user', content }, ...answer]),
    { role: 'user', content: last },
  ]);
const tools = fc.uniqueArray(
  fc.record({
    type: fc.constant('function'),
    function: fc.record({
      name,
      description: optional(word),
      parameters: fc.constant({ type: 'object', properties: { a: { type: 'string' } } }),
    }),
  }),
  { selector: (tool) => tool.function.name, minLength: 1, maxLength: 3 },
);
const requests = fc
  .record({
    messages,
    stream: optional(fc.boolean()),
    max_completion_tokens: optional(fc.integer({ min: 16, max: 9999 })),
    tools: optional(tools),
    choice: fc.constantFrom('auto', 'none', 'required', 'named'),
    parallel_tool_calls: optional(fc.boolean()),
    schema: fc.boolean(),
  })
  .map(({ choice, schema, ...body }) => ({
    ...body,
    model: 'ours',
    ...(body.tools
      ? {
          tool_choice:
            choice === 'named' ? { type: 'function', function: { name: body.tools[0]?.function.name } } : choice,
        }
      : {}),
    ...(schema
      ? {
          response_format: {
            type: 'json_schema',
            json_schema: {
              name: 'a',
              strict: true,
              schema: { type: 'object', properties: {}, required: [], additionalProperties: false },
            },
          },
        }
      : {}),
  }));

const CHATS = ['openai-chat', 'openai-responses', 'anthropic-messages'] as const;
const PAIRS = CHATS.flatMap((client) => CHATS.map((provider) => ({ client, provider })));

describe.each(PAIRS)('a request of $client, said in $provider', ({ client, provider }) => {
  it('means the same', () => {
    fc.assert(
      fc.property(requests, (body) => {
        const chat = understood('openai-chat', Buffer.from(JSON.stringify(body)));
        const meant = client === 'openai-chat' ? chat : understood(client, translated(client, chat));
        const again = understood(provider, translated(provider, meant));
        expect(saidIn(again)).toEqual(saidIn(meant));
        expect(pairs(again)).toEqual(pairs(meant));
        expect(optionsOf(again)).toEqual(optionsOf(meant));
        expect(again.maxOutputTokens).toBe(meant.maxOutputTokens ?? again.maxOutputTokens);
      }),
    );
  });
});

/** Names of schemas are OpenAI's alone; how many calls at once matters where any may be made. */
function optionsOf({ stream, tools, toolChoice, parallelToolCalls, outputFormat }: NeutralRequest): unknown {
  const choice = tools.length > 0 ? (toolChoice ?? { type: 'auto' }) : undefined;
  return {
    stream,
    tools: tools.map(({ name: called, description, parameters }) => ({ called, description, parameters })),
    choice,
    isSerial: choice !== undefined && choice.type !== 'none' && parallelToolCalls === false,
    schema: outputFormat?.type === 'json_schema' ? outputFormat.schema : undefined,
  };
}
