import fc from 'fast-check';
import type { JsonObject } from '../../../kernel/json-object';
import { DIALECTS } from '../dialects';
import { isRefusal } from '../invalid-request';
import { MessageEventParser } from './event-parser';
import { MessageEventRenderer } from './event-renderer';
import { parseMessagesRequest } from './messages-request';
import { neutralOfMessages } from './request-reader';

const SEED = 20_261_121;
const RUNS = 1_000;

/** Values of any type, of the kinds that stand in such bodies and frames. */
const ODD = fc.oneof(
  fc.constantFrom<unknown>(null, '', 'x', 0, -1, 1.5, true, [], {}, [null], [{}], 'gAAAA'),
  fc.jsonValue({ maxDepth: 3 }),
);
/** Without them nothing else is read. */
const NEEDED = new Set(['model', 'max_tokens', 'messages', 'role', 'content', 'type', 'text', 'source', 'id', 'name']);
const fields = (known: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<JsonObject> =>
  fc.record(known, { requiredKeys: Object.keys(known).filter((key) => NEEDED.has(key)) });
const mostly = (value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> => fc.oneof({ weight: 30, arbitrary: value }, ODD);

const TYPES = fc.constantFrom(
  ...['text', 'image', 'document', 'tool_use', 'tool_result', 'thinking', 'redacted_thinking', 'search_result'],
  ...['server_tool_use', 'web_search_tool_result', 'container_upload', 'unheard_of'],
);
const SOURCE = fields({
  type: mostly(fc.constantFrom('base64', 'url', 'file', 'text', 'content')),
  data: mostly(fc.base64String()),
  media_type: mostly(fc.constantFrom('image/png', 'application/pdf')),
  url: mostly(fc.constant('https://a.example')),
  file_id: mostly(fc.constant('file_1')),
  content: mostly(fc.array(fields({ type: TYPES, text: mostly(fc.string()) }), { maxLength: 2 })),
});
const BLOCK = fields({
  type: mostly(TYPES),
  text: mostly(fc.string()),
  source: mostly(SOURCE),
  id: mostly(fc.string()),
  name: mostly(fc.string()),
  input: ODD,
  tool_use_id: mostly(fc.string()),
  content: mostly(fc.array(fields({ type: mostly(TYPES), text: mostly(fc.string()), source: mostly(SOURCE) }))),
  thinking: mostly(fc.string()),
  signature: mostly(fc.string()),
  data: mostly(fc.string()),
  cache_control: ODD,
  citations: ODD,
});
const MESSAGES = fc.array(
  fields({
    role: mostly(fc.constantFrom('user', 'user', 'assistant', 'system')),
    content: mostly(fc.oneof(fc.string(), fc.array(BLOCK, { maxLength: 2 }))),
  }),
  { minLength: 1, maxLength: 3 },
);
const OPTIONS: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  system: fc.oneof(fc.string(), fc.array(BLOCK, { maxLength: 2 })),
  tools: fc.array(fields({ type: ODD, name: mostly(fc.string()), input_schema: ODD, input_examples: ODD })),
  tool_choice: fields({ type: fc.constantFrom('auto', 'any', 'tool', 'none'), name: ODD }),
  thinking: fields({ type: fc.constantFrom('enabled', 'adaptive'), budget_tokens: ODD }),
  output_config: fields({ effort: ODD, format: fields({ type: fc.constant('json_schema'), schema: ODD }) }),
  ...{ context_management: ODD, metadata: ODD, stop_sequences: ODD, temperature: ODD, service_tier: ODD },
};
const OPTION = fc.oneof(...Object.entries(OPTIONS).map(([name, value]) => fc.record({ [name]: fc.oneof(value, ODD) })));
const BODY = fc
  .tuple(
    fields({ model: mostly(fc.constant('claude')), max_tokens: mostly(fc.nat(100)), messages: mostly(MESSAGES) }),
    fc.array(OPTION, { maxLength: 2 }),
  )
  .map(([body, options]) => options.reduce<JsonObject>((whole, option) => ({ ...whole, ...option }), body));

const FRAME = fields({
  type: mostly(
    fc.constantFrom(
      'message_start',
      'content_block_start',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
    ),
  ),
  index: mostly(fc.nat(3)),
  message: mostly(fields({ id: ODD, model: ODD, content: mostly(fc.array(BLOCK)), stop_reason: ODD, usage: ODD })),
  content_block: mostly(BLOCK),
  delta: mostly(
    fields({
      type: mostly(
        fc.constantFrom('text_delta', 'input_json_delta', 'thinking_delta', 'signature_delta', 'citations_delta'),
      ),
      text: ODD,
      partial_json: ODD,
      thinking: ODD,
      signature: ODD,
      citation: ODD,
      stop_reason: ODD,
      stop_details: ODD,
    }),
  ),
  usage: ODD,
});

describe('whatever a stranger sends', () => {
  it('a request is understood or refused by name, and so is what it says elsewhere', () => {
    let translated = 0;
    fc.assert(
      fc.property(BODY, (body) => {
        const request = parseMessagesRequest(Buffer.from(JSON.stringify(body)));
        if (isRefusal(request)) {
          expect(request.code).toBe('INVALID_REQUEST');
          return;
        }
        const neutral = neutralOfMessages(request);
        if (isRefusal(neutral)) {
          expect(neutral.param).toEqual(expect.any(String));
          return;
        }
        for (const { translation } of Object.values(DIALECTS)) {
          const rendered = translation?.renderRequest(neutral, { upstreamModel: 'model', maxOutputTokens: 9 });
          if (Buffer.isBuffer(rendered)) JSON.parse(rendered.toString());
          else if (rendered) expect(rendered.code).toBe('INVALID_REQUEST');
        }
        translated += 1;
      }),
      { seed: SEED, numRuns: RUNS },
    );
    expect(translated).toBeGreaterThan(20);
  });

  it('a stream gives events that can be rendered for every client', () => {
    const request = parseMessagesRequest(
      Buffer.from('{"model":"claude","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}'),
    );
    if (isRefusal(request)) throw new Error('refused');
    const look = { model: 'm', showUsage: true, request, answerId: '1', nowMs: 0 };
    fc.assert(
      fc.property(fc.array(FRAME, { maxLength: 12 }), (frames) => {
        const parser = new MessageEventParser();
        const events = [...frames.flatMap((frame) => parser.parse(frame)), ...parser.end()];
        const renderer = new MessageEventRenderer(look);
        const stream = events.map((event) => renderer.render(event)).join('');
        expect(stream).toContain('event: message_start');
        expect(stream).toContain('event: message_delta');
      }),
      { seed: SEED, numRuns: RUNS },
    );
  });
});
