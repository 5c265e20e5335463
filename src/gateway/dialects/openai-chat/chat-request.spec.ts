import * as fc from 'fast-check';

import { type ChatRequest, parseChatRequest, renderUpstreamBody } from './chat-request';
import { isRefusal } from '../invalid-request';

const HELLO = { role: 'user', content: 'Hello' };

function parse(body: string | object | Buffer): ChatRequest {
  const parsed = parseChatRequest(bytesOf(body));
  if (isRefusal(parsed)) throw new Error(JSON.stringify(parsed));
  return parsed;
}

function bytesOf(body: string | object | Buffer): Buffer {
  if (Buffer.isBuffer(body)) return body;
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
}

function sent(body: string | object, upstreamModel = 'm'): unknown {
  return JSON.parse(renderUpstreamBody(parse(body), upstreamModel).toString());
}

describe('parseChatRequest', () => {
  it('reads what decides the price', () => {
    const body = {
      model: 'gpt-5',
      messages: [HELLO],
      stream: true,
      stream_options: { include_usage: true },
      max_completion_tokens: 300,
      n: 3,
      user: 'ann',
      session_id: 's-1',
    };
    expect(parse(body)).toMatchObject({
      model: 'gpt-5',
      stream: true,
      includeUsage: true,
      maxOutputTokens: 300,
      choices: 3,
      images: 0,
      promptTextBytes: JSON.stringify(body).length,
    });
  });

  it('takes null for not sent', () => {
    const nothing = { stream: null, stream_options: null, max_tokens: null, n: null, tools: null, user: null };
    const request = parse({ model: 'm', messages: [HELLO], ...nothing });
    expect(request).toMatchObject({ stream: false, includeUsage: false, choices: 1 });
    expect(request).not.toHaveProperty('maxOutputTokens');
  });

  it('reserves for the larger of both limits, since providers differ in which they obey', () => {
    const body = { model: 'm', messages: [HELLO], max_tokens: 900, max_completion_tokens: 10 };
    expect(parse(body).maxOutputTokens).toBe(900);
    expect(parse({ model: 'm', messages: [HELLO], max_tokens: 7 }).maxOutputTokens).toBe(7);
  });

  it('counts images and leaves their data out of the text', () => {
    const url = `data:image/png;base64,${'A'.repeat(5000)}`;
    const content = [
      { type: 'text', text: 'What is this?' },
      { type: 'image_url', image_url: { url } },
      { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
    ];
    const body = { model: 'm', messages: [{ role: 'user', content }] };
    const request = parse(body);
    expect(request.images).toBe(2);
    expect(request.promptTextBytes).toBe(JSON.stringify(body).length - url.length);
  });

  it('counts audio and leaves its data out of the text', () => {
    const data = 'A'.repeat(5000);
    const content = [
      { type: 'text', text: 'What is said?' },
      { type: 'input_audio', input_audio: { data, format: 'wav' } },
      { type: 'audio_url', audio_url: { url: 'https://example.com/a.mp3' } },
    ];
    const earlier = { role: 'assistant', content: null, audio: { id: 'audio_1' } };
    const body = { model: 'm', messages: [earlier, { role: 'user', content }] };
    expect(parse(body)).toMatchObject({
      audioParts: 3,
      audioDataBytes: data.length,
      promptTextBytes: JSON.stringify(body).length - data.length,
    });
    expect(parse({ model: 'm', input: [{ role: 'user', content }] })).toMatchObject({ audioParts: 2 });
  });

  it.each<[object, boolean, boolean]>([
    [{}, false, false],
    [{ modalities: null, audio: null }, false, false],
    [{ modalities: ['text'] }, false, false],
    [{ modalities: ['text', 'audio'] }, true, false],
    [{ modalities: ['TEXT', ' Image '] }, false, true],
    [{ audio: { voice: 'alloy', format: 'wav' } }, true, false],
  ])('knows what %j asks for beside text', (options, asksForAudio, asksForImages) => {
    expect(parse({ model: 'm', messages: [HELLO], ...options })).toMatchObject({ asksForAudio, asksForImages });
  });

  it('counts text in bytes, not in characters', () => {
    const text = '价格'.repeat(100);
    expect(parse({ model: 'm', messages: [{ role: 'user', content: text }] }).promptTextBytes).toBeGreaterThan(600);
  });

  it.each<[string, string | Buffer | object, string | undefined]>([
    ['an empty body', '', undefined],
    ['no JSON', 'hello', undefined],
    ['half a JSON', '{"model":"m","messages":[', undefined],
    ['bytes after the object', '{"model":"m","messages":[{"role":"user"}]} x', undefined],
    ['mismatched brackets', '{"model":"m","messages":[}]', undefined],
    ['an array', '[]', undefined],
    ['null', 'null', undefined],
    [
      'invalid UTF-8',
      Buffer.concat([Buffer.from('{"model":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]),
      undefined,
    ],
    ['too deep a nesting', `{"model":"m","messages":[${'['.repeat(200)}${']'.repeat(200)}]}`, undefined],
    ['no model', { messages: [HELLO] }, 'model'],
    ['a model that is a number', { model: 4, messages: [HELLO] }, 'model'],
    ['an empty model', { model: '', messages: [HELLO] }, 'model'],
    ['a model as long as a book', { model: 'm'.repeat(257), messages: [HELLO] }, 'model'],
    ['no messages', { model: 'm' }, 'messages'],
    ['messages as a string', { model: 'm', messages: 'Hello' }, 'messages'],
    ['no message', { model: 'm', messages: [] }, 'messages'],
    ['a message that is a string', { model: 'm', messages: [HELLO, 'Hello'] }, 'messages[1]'],
    ['a message that is null', { model: 'm', messages: [null] }, 'messages[0]'],
    ['no role', { model: 'm', messages: [HELLO, HELLO, HELLO, { content: 'x' }] }, 'messages[3].role'],
    ['a role that is a number', { model: 'm', messages: [{ role: 1, content: 'x' }] }, 'messages[0].role'],
    ['content that is a number', { model: 'm', messages: [{ role: 'user', content: 5 }] }, 'messages[0].content'],
    ['content that is an object', { model: 'm', messages: [{ role: 'user', content: {} }] }, 'messages[0].content'],
    ['a part that is a string', { model: 'm', messages: [{ role: 'user', content: ['x'] }] }, 'messages[0].content[0]'],
    ['a part without type', { model: 'm', messages: [{ role: 'user', content: [{}] }] }, 'messages[0].content[0].type'],
    [
      'a text part without text',
      { model: 'm', messages: [{ role: 'user', content: [{ type: 'text' }] }] },
      'messages[0].content[0].text',
    ],
    [
      'an image without URL',
      { model: 'm', messages: [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }] },
      'messages[0].content[0].image_url.url',
    ],
    [
      'tool calls that are an object',
      { model: 'm', messages: [{ role: 'a', tool_calls: {} }] },
      'messages[0].tool_calls',
    ],
    [
      'a tool call that is null',
      { model: 'm', messages: [{ role: 'a', tool_calls: [null] }] },
      'messages[0].tool_calls[0]',
    ],
    ['stream as a string', { model: 'm', messages: [HELLO], stream: 'true' }, 'stream'],
    ['stream options as an array', { model: 'm', messages: [HELLO], stream_options: [] }, 'stream_options'],
    [
      'include_usage as a number',
      { model: 'm', messages: [HELLO], stream_options: { include_usage: 1 } },
      'stream_options.include_usage',
    ],
    ['n of 0', { model: 'm', messages: [HELLO], n: 0 }, 'n'],
    ['n of 129', { model: 'm', messages: [HELLO], n: 129 }, 'n'],
    ['n of 1.5', { model: 'm', messages: [HELLO], n: 1.5 }, 'n'],
    ['max_tokens of 0', { model: 'm', messages: [HELLO], max_tokens: 0 }, 'max_tokens'],
    ['max_tokens of -1', { model: 'm', messages: [HELLO], max_tokens: -1 }, 'max_tokens'],
    ['max_tokens beyond integers', '{"model":"m","messages":[{"role":"user"}],"max_tokens":1e400}', 'max_tokens'],
    [
      'max_completion_tokens as a string',
      { model: 'm', messages: [HELLO], max_completion_tokens: '9' },
      'max_completion_tokens',
    ],
    ['modalities as a string', { model: 'm', messages: [HELLO], modalities: 'audio' }, 'modalities'],
    ['a modality that is an object', { model: 'm', messages: [HELLO], modalities: ['text', {}] }, 'modalities[1]'],
    ['audio as a string', { model: 'm', messages: [HELLO], audio: 'alloy' }, 'audio'],
    ['modalities in another case', { model: 'm', messages: [HELLO], Modalities: ['audio'] }, 'Modalities'],
    ['tools as an object', { model: 'm', messages: [HELLO], tools: {} }, 'tools'],
    ['a tool that is a string', { model: 'm', messages: [HELLO], tools: ['x'] }, 'tools[0]'],
    ['user as a number', { model: 'm', messages: [HELLO], user: 7 }, 'user'],
    ['session_id as an object', { model: 'm', messages: [HELLO], session_id: {} }, 'session_id'],
    ['a __proto__ key', '{"model":"m","messages":[{"role":"user","content":"x","__proto__":{"a":1}}]}', '__proto__'],
    ['a spaced __proto__ key', '{"model":"m","messages":[{"role":"user"}],"__proto__" : 1}', '__proto__'],
    ['an escaped __proto__ key', '{"model":"m","messages":[{"role":"user","\\u005f_proto__":{}}]}', '__proto__'],
    [
      'a __proto__ key with another escape',
      '{"model":"m","messages":[{"role":"u","__pr\\u006fto__":{}}]}',
      '__proto__',
    ],
    ['a second model in capitals', '{"model":"cheap","Model":"dear","messages":[{"role":"user"}]}', 'Model'],
    ['a limit in capitals', '{"model":"m","messages":[{"role":"user"}],"MAX_TOKENS":9}', 'MAX_TOKENS'],
    ['a lookalike by case folding', '{"model":"m","messages":[{"role":"user"}],"\\u017ftream":true}', 'ſtream'],
    ['an input that is a number', { model: 'm', input: 5 }, 'input'],
    ['an empty input', { model: 'm', input: [] }, 'input'],
    ['an input item that is a string', { model: 'm', input: ['x'] }, 'input[0]'],
    ['an input item of unknown type', { model: 'm', input: [{ type: 'item_reference', id: 'x' }] }, 'input[0].type'],
    ['an input item without role', { model: 'm', input: [{ content: 'x' }] }, 'input[0].role'],
    ['a previous response', { model: 'm', input: 'x', previous_response_id: 'r' }, 'previous_response_id'],
  ])('refuses %s, naming the field', (_, body, param) => {
    const refusal = parseChatRequest(bytesOf(body));
    expect(refusal).toEqual({
      code: 'INVALID_REQUEST',
      ...(param === undefined ? {} : { param }),
      values: { reason: expect.any(String) as string },
    });
  });

  it('lets prompts talk about __proto__', () => {
    for (const content of ['what is "__proto__": in JS?', '__proto__', '"__proto__"', 'a \\u005f b "__proto__":']) {
      expect(parse({ model: 'm', messages: [{ role: 'user', content }] }).body.messages).toEqual([
        { role: 'user', content },
      ]);
    }
  });

  it('never throws, whatever the bytes', () => {
    const odd = fc.jsonValue({ maxDepth: 3 });
    const body = fc.record(
      {
        model: fc.oneof(fc.string(), odd),
        messages: fc.oneof(
          fc.array(fc.oneof(fc.record({ role: odd, content: odd, tool_calls: odd }, { requiredKeys: [] }), odd)),
          odd,
        ),
        input: fc.oneof(
          fc.array(fc.record({ type: odd, role: odd, content: fc.array(odd) }, { requiredKeys: [] })),
          odd,
        ),
        stream: odd,
        stream_options: odd,
        n: odd,
        max_tokens: odd,
        tools: fc.oneof(fc.array(odd), odd),
        text: fc.record({ format: odd, verbosity: odd }, { requiredKeys: [] }),
      },
      { requiredKeys: [] },
    );
    const bytes = fc.oneof(
      body.map((value) => Buffer.from(JSON.stringify(value))),
      fc.tuple(body, fc.nat(), fc.integer({ min: 0, max: 255 })).map(([value, at, byte]) => {
        const damaged = Buffer.from(JSON.stringify(value));
        damaged[at % damaged.length] = byte;
        return damaged;
      }),
      fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
    );
    fc.assert(
      fc.property(bytes, (raw) => {
        const request = parseChatRequest(raw);
        if (isRefusal(request)) expect(request.code).toBe('INVALID_REQUEST');
        else
          expect(JSON.parse(renderUpstreamBody(request, 'upstream').toString())).toMatchObject({ model: 'upstream' });
      }),
      { numRuns: 3000 },
    );
  });
});

describe('renderUpstreamBody', () => {
  it("sends the client's own bytes when nothing has to change", () => {
    const raw = Buffer.from('{ "model":"m", "messages":[{"role":"user","content":"\\u00e9"}] , "seed":1e2 }\n');
    expect(renderUpstreamBody(parse(raw), 'm')).toBe(raw);
    const streaming = Buffer.from(
      '{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"u"}]}',
    );
    expect(renderUpstreamBody(parse(streaming), 'm')).toBe(streaming);
  });

  it("puts the provider's name of the model in place, big integers and unknown fields untouched", () => {
    const raw = '{"seed":12345678901234567890,"model":"mine","x":{"model":"mine"},"messages":[{"role":"user"}]}';
    expect(renderUpstreamBody(parse(raw), 'their"s').toString()).toBe(
      '{"seed":12345678901234567890,"model":"their\\"s","x":{"model":"mine"},"messages":[{"role":"user"}]}',
    );
  });

  it('asks for usage on every stream and keeps the other stream options', () => {
    const base = { model: 'm', messages: [HELLO], stream: true };
    expect(sent(base)).toEqual({ ...base, stream_options: { include_usage: true } });
    expect(sent({ ...base, stream_options: null })).toEqual({ ...base, stream_options: { include_usage: true } });
    expect(sent({ ...base, stream_options: { include_usage: false, include_obfuscation: false } })).toEqual({
      ...base,
      stream_options: { include_usage: true, include_obfuscation: false },
    });
  });

  it('leaves stream options of a whole answer to the provider', () => {
    const body = { model: 'm', messages: [HELLO], stream_options: { include_usage: true } };
    expect(renderUpstreamBody(parse(body), 'm').toString()).toBe(JSON.stringify(body));
  });

  it('decides a stream option that is spelled twice before the provider does', () => {
    const options = '{"include_usage":false,"include_usage":true}';
    const raw = `{"model":"m","stream":true,"stream_options":${options},"messages":[{"role":"user"}]}`;
    expect(renderUpstreamBody(parse(raw), 'm').toString()).toContain('"stream_options":{"include_usage":true}');
  });

  it('sends what was priced when a key is spelled twice', () => {
    const raw =
      '{"model":"dear","max_tokens":9,"seed":98765432109876543210,"messages":[{"role":"user"}],"model":"cheap","max_tokens":5}';
    const request = parse(raw);
    expect(request).toMatchObject({ model: 'cheap', maxOutputTokens: 5 });
    expect(renderUpstreamBody(request, 'cheap').toString()).toBe(
      '{"model":"cheap","max_tokens":5,"seed":98765432109876543210,"messages":[{"role":"user"}]}',
    );
  });

  it('keeps the session to itself', () => {
    expect(sent({ session_id: 's', model: 'm', messages: [HELLO], stream: true })).toEqual({
      model: 'm',
      messages: [HELLO],
      stream: true,
      stream_options: { include_usage: true },
    });
  });
});

describe('a Responses-style body on the chat route', () => {
  it('is the chat request it means', () => {
    const body = {
      model: 'm',
      instructions: 'Be brief.',
      input: [
        {
          role: 'user',
          content: [
            { type: 'input_text', text: 'Look' },
            { type: 'input_image', image_url: 'https://e.com/a' },
          ],
        },
        { type: 'reasoning', summary: [] },
        { type: 'function_call', call_id: 'c1', name: 'weather', arguments: '{}' },
        { type: 'function_call', call_id: 'c2', name: 'time', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c1', output: 'rain' },
        { type: 'function_call_output', call_id: 'c2', output: [{ type: 'input_text', text: 'noon' }] },
        { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'It rains.' }] },
      ],
      tools: [{ type: 'function', name: 'weather', parameters: { type: 'object' } }],
      tool_choice: { type: 'function', name: 'weather' },
      reasoning: { effort: 'low' },
      text: { format: { type: 'json_schema', name: 'a', schema: {} }, verbosity: 'low' },
      max_output_tokens: 50,
      store: false,
      stream: true,
    };
    const call = (id: string, name: string): object => ({ id, type: 'function', function: { name, arguments: '{}' } });
    expect(parse(body)).toMatchObject({ maxOutputTokens: 50, images: 1, stream: true });
    expect(sent(body)).toEqual({
      model: 'm',
      store: false,
      stream: true,
      stream_options: { include_usage: true },
      messages: [
        { role: 'system', content: 'Be brief.' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Look' },
            { type: 'image_url', image_url: { url: 'https://e.com/a' } },
          ],
        },
        { role: 'assistant', content: null, tool_calls: [call('c1', 'weather'), call('c2', 'time')] },
        { role: 'tool', tool_call_id: 'c1', content: 'rain' },
        { role: 'tool', tool_call_id: 'c2', content: 'noon' },
        { role: 'assistant', content: [{ type: 'text', text: 'It rains.' }] },
      ],
      tools: [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }],
      tool_choice: { type: 'function', function: { name: 'weather' } },
      reasoning_effort: 'low',
      response_format: { type: 'json_schema', json_schema: { name: 'a', schema: {} } },
      verbosity: 'low',
      max_completion_tokens: 50,
    });
  });

  it('may be one string, and keeps big integers of fields it does not know', () => {
    const request = parse('{"model":"m","input":"Hello","seed":12345678901234567890}');
    expect(request.raw.toString()).toBe(
      '{"model":"m","seed":12345678901234567890,"messages":[{"role":"user","content":"Hello"}]}',
    );
  });

  it('is read by its messages when it has both', () => {
    expect(sent({ model: 'm', messages: [HELLO], input: 'x' })).toEqual({ model: 'm', messages: [HELLO], input: 'x' });
  });
});
