import * as fc from 'fast-check';

import { isRefusal } from '../invalid-request';
import { parseResponsesRequest, passOnResponses, type ResponsesRequest } from './responses-request';

type Body = Readonly<Record<string, unknown>>;

const HELLO = { model: 'm', input: 'Hello' };

function parse(body: Body | string): ResponsesRequest {
  const parsed = parseResponsesRequest(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));
  if (isRefusal(parsed)) throw new Error(JSON.stringify(parsed));
  return parsed;
}

function refusedField(body: Body): string | undefined {
  const parsed = parseResponsesRequest(Buffer.from(JSON.stringify(body)));
  return isRefusal(parsed) ? parsed.param : 'nothing';
}

describe('parseResponsesRequest', () => {
  it('reads what decides the price', () => {
    const body = { ...HELLO, stream: true, max_output_tokens: 300, prompt_cache_key: 'session-1', store: false };
    expect(parse(body)).toMatchObject({
      dialect: 'openai-responses',
      model: 'm',
      stream: true,
      includeUsage: true,
      maxOutputTokens: 300,
      choices: 1,
      sessionId: 'session-1',
      images: 0,
      promptTextBytes: JSON.stringify(body).length,
    });
  });

  it('takes null for not sent', () => {
    const nothing = {
      ...{ stream: null, max_output_tokens: null, tools: null, instructions: null, text: null, reasoning: null },
      ...{ previous_response_id: null, conversation: null, background: null, prompt: null, prompt_cache_key: null },
    };
    const request = parse({ ...HELLO, ...nothing });
    expect(request).toMatchObject({ stream: false, includeUsage: true });
    expect(request).not.toHaveProperty('maxOutputTokens');
    expect(request).not.toHaveProperty('sessionId');
  });

  it('counts images wherever they may stand, and leaves their data out of the text', () => {
    const url = `data:image/png;base64,${'A'.repeat(5000)}`;
    const image = { type: 'input_image', image_url: url };
    const body = {
      model: 'm',
      input: [
        { role: 'user', content: [{ type: 'input_text', text: 'What is this?' }, image] },
        { type: 'message', role: 'user', content: [{ type: 'input_image', image_url: 'https://example.com/a.png' }] },
        { type: 'message', role: 'user', content: [{ type: 'input_image', file_id: 'file-1' }] },
        { type: 'function_call_output', call_id: 'c', output: [image] },
        { type: 'computer_call_output', call_id: 'c', output: { type: 'computer_screenshot', image_url: url } },
        { type: 'image_generation_call', id: 'ig_1', status: 'completed', result: 'A'.repeat(700) },
      ],
    };
    const request = parse(body);
    expect(request.images).toBe(6);
    expect(request.promptTextBytes).toBe(JSON.stringify(body).length - 3 * url.length - 700);
  });

  it('counts recordings and leaves their data out of the text', () => {
    const data = 'A'.repeat(5000);
    const content = [{ type: 'input_audio', input_audio: { data, format: 'wav' } }];
    const body = { model: 'm', input: [{ role: 'user', content }] };
    expect(parse(body)).toMatchObject({
      audioParts: 1,
      audioDataBytes: data.length,
      promptTextBytes: JSON.stringify(body).length - data.length,
    });
  });

  it('holds for a PDF by its pages, and for any other file as for text', () => {
    const ofFile = (file_data: string): ResponsesRequest =>
      parse({ model: 'm', input: [{ role: 'user', content: [{ type: 'input_file', file_data }] }] });
    const pdf = Buffer.from('%PDF-1.4 /Type /Page /Type /Page').toString('base64');
    for (const data of [pdf, `data:application/pdf;base64,${pdf}`]) {
      const request = ofFile(data);
      expect(request.images).toBe(4);
      expect(request.promptTextBytes).toBe(request.raw.length - data.length);
    }
    const text = ofFile(`data:text/plain;base64,${Buffer.from('hello').toString('base64')}`);
    expect(text).toMatchObject({ images: 0, promptTextBytes: text.raw.length });
  });

  it('holds for what is read and was not sent', () => {
    const unseen = (body: Body): number | undefined => parse({ ...HELLO, ...body }).unseenTextBytes;
    const ofPart = (part: Body): number | undefined => unseen({ input: [{ role: 'user', content: [part] }] });
    expect(unseen({})).toBe(0);
    expect(ofPart({ type: 'input_file', file_id: 'file-1' })).toBe(144_000);
    expect(ofPart({ type: 'input_file', file_url: 'https://example.com/a.pdf' })).toBe(144_000);
    const items = [{ type: 'item_reference', id: 'msg_1' }, { id: 'msg_2' }, { role: 'user', content: 'go on' }];
    expect(unseen({ input: items })).toBe(24 * 1024);
    for (const type of ['web_search_2025_08_26', 'web_search_preview_2025_03_11']) {
      expect(unseen({ tools: [{ type }] })).toBe(unseen({ tools: [{ type: 'web_search' }] }));
    }
    expect(unseen({ tools: [{ type: 'web_search' }, { type: 'mcp' }, { type: 'function', name: 'f' }] })).toBe(
      64 * 1024,
    );
  });

  it.each<[Body, boolean, boolean]>([
    [{}, false, false],
    [{ tools: [{ type: 'function', name: 'f' }] }, false, false],
    [{ tools: [{ type: 'image_generation' }] }, false, true],
    [{ modalities: ['text', 'audio'] }, true, false],
  ])('knows what %j asks for beside text', (options, asksForAudio, asksForImages) => {
    expect(parse({ ...HELLO, ...options })).toMatchObject({ asksForAudio, asksForImages });
  });

  it.each<[string, Body, string | undefined]>([
    ['no model', { input: 'x' }, 'model'],
    ['a model that cannot be logged', { ...HELLO, model: 'a\u0000b' }, 'model'],
    ['a lookalike of a priced field', { ...HELLO, Input: 'y' }, 'Input'],
    ['no input', { model: 'm' }, 'input'],
    ['an empty input', { model: 'm', input: [] }, 'input'],
    ['an item that is none', { model: 'm', input: ['x'] }, 'input[0]'],
    ['an item without a role', { model: 'm', input: [{ content: 'x' }] }, 'input[0].role'],
    ['an odd type', { model: 'm', input: [{ type: 7 }] }, 'input[0].type'],
    ['odd content', { model: 'm', input: [{ role: 'user', content: 7 }] }, 'input[0].content'],
    ['an odd part', { model: 'm', input: [{ role: 'user', content: [7] }] }, 'input[0].content[0]'],
    [
      'a part without text',
      { model: 'm', input: [{ role: 'user', content: [{ type: 'input_text' }] }] },
      'input[0].content[0].text',
    ],
    [
      'an odd image',
      { model: 'm', input: [{ role: 'user', content: [{ type: 'input_image', image_url: {} }] }] },
      'input[0].content[0].image_url',
    ],
    [
      'an odd tool output',
      { model: 'm', input: [{ type: 'function_call_output', call_id: 'c', output: [{}] }] },
      'input[0].output[0].type',
    ],
    ['instructions that are no text', { ...HELLO, instructions: 7 }, 'instructions'],
    ['an odd maximum', { ...HELLO, max_output_tokens: 0 }, 'max_output_tokens'],
    ['a maximum that is none', { ...HELLO, max_output_tokens: 1.5 }, 'max_output_tokens'],
    ['an odd stream', { ...HELLO, stream: 'yes' }, 'stream'],
    ['an odd store', { ...HELLO, store: 1 }, 'store'],
    ['odd tools', { ...HELLO, tools: {} }, 'tools'],
    ['an odd tool', { ...HELLO, tools: ['x'] }, 'tools[0]'],
    ['a tool without a type', { ...HELLO, tools: [{ name: 'x' }] }, 'tools[0].type'],
    ['odd text options', { ...HELLO, text: 'json' }, 'text'],
    ['an odd format', { ...HELLO, text: { format: 'json' } }, 'text.format'],
    ['odd reasoning', { ...HELLO, reasoning: 'high' }, 'reasoning'],
    ['an odd include', { ...HELLO, include: 'x' }, 'include'],
    ['odd metadata', { ...HELLO, metadata: [] }, 'metadata'],
    ['a stored response', { ...HELLO, previous_response_id: 'resp_1' }, 'previous_response_id'],
    ['a conversation', { ...HELLO, conversation: 'conv_1' }, 'conversation'],
    ['a conversation object', { ...HELLO, conversation: { id: 'conv_1' } }, 'conversation'],
    ['a response in the background', { ...HELLO, background: true }, 'background'],
    ['a stored prompt', { model: 'm', prompt: { id: 'pmpt_1' } }, 'prompt'],
  ])('refuses %s and names the field', (_, body, field) => {
    expect(refusedField(body)).toBe(field);
  });

  it('says why nothing may build on what a provider keeps', () => {
    const refusal = parseResponsesRequest(Buffer.from(JSON.stringify({ ...HELLO, previous_response_id: 'resp_1' })));
    expect(refusal).toMatchObject({ values: { reason: expect.stringContaining('not served yet') as string } });
  });

  it('never throws, whatever it is given', () => {
    fc.assert(
      fc.property(fc.object({ key: fc.constantFrom('model', 'input', 'tools', 'text', 'x'), maxDepth: 3 }), (odd) => {
        parseResponsesRequest(Buffer.from(JSON.stringify({ model: 'm', ...odd })));
        parseResponsesRequest(Buffer.from(JSON.stringify({ model: 'm', input: [odd] })));
        parseResponsesRequest(Buffer.from(JSON.stringify({ model: 'm', input: [{ role: 'user', content: [odd] }] })));
      }),
    );
  });
});

describe('passOnResponses', () => {
  it('sends the very bytes of the client where nothing has to change', () => {
    const request = parse('{"model":"m", "input":"x",  "seed":12345678901234567890}');
    expect(passOnResponses(request, 'm')).toBe(request.raw);
  });

  it('replaces the model and leaves every other byte, unknown fields and big numbers as they are', () => {
    const request = parse('{ "input":"x", "model" : "m","seed":12345678901234567890, "new":{"a":[1e400]} }');
    expect(passOnResponses(request, 'gpt-5').toString()).toBe(
      '{ "input":"x", "model" : "gpt-5","seed":12345678901234567890, "new":{"a":[1e400]} }',
    );
  });

  it('keeps session_id to itself', () => {
    const request = parse({ ...HELLO, session_id: 's-1' });
    expect(passOnResponses(request, 'm').toString()).toBe('{"model":"m","input":"Hello"}');
  });
});
