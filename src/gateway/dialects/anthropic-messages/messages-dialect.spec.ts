import { isRefusal } from '../invalid-request';
import type { InferenceRequest } from '../inference-request';
import { NO_TOKENS } from '../../../catalogue/price';
import { MESSAGES_DIALECT } from './messages-dialect';

const HELLO = { model: 'claude', max_tokens: 64, messages: [{ role: 'user', content: 'Hi' }] };

function parse(body: unknown): InferenceRequest {
  const request = MESSAGES_DIALECT.parseRequest(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));
  if (isRefusal(request)) throw new Error(`${request.param ?? 'body'}: ${String(request.values?.reason)}`);
  return request;
}

const user = (...content: object[]): object => ({ ...HELLO, messages: [{ role: 'user', content }] });

describe('a request for a message', () => {
  it('is understood', () => {
    expect(parse({ ...HELLO, stream: true })).toMatchObject({
      dialect: 'anthropic-messages',
      model: 'claude',
      stream: true,
      includeUsage: true,
      maxOutputTokens: 64,
      choices: 1,
      images: 0,
      promptTextBytes: JSON.stringify({ ...HELLO, stream: true }).length,
    });
  });

  it.each([
    ['model', { ...HELLO, model: '' }],
    ['max_tokens', { ...HELLO, max_tokens: undefined }],
    ['max_tokens', { ...HELLO, max_tokens: -1 }],
    ['max_tokens', { ...HELLO, max_tokens: 1.5 }],
    ['messages', { ...HELLO, messages: undefined }],
    ['messages', { ...HELLO, messages: [] }],
    ['messages[0]', { ...HELLO, messages: ['Hi'] }],
    ['messages[0].role', { ...HELLO, messages: [{ content: 'Hi' }] }],
    ['messages[0].content', { ...HELLO, messages: [{ role: 'user' }] }],
    ['messages[0].content[0]', user('Hi' as unknown as object)],
    ['messages[0].content[0].type', user({ text: 'Hi' })],
    ['messages[0].content[0].text', user({ type: 'text' })],
    ['messages[0].content[0].source', user({ type: 'image' })],
    ['messages[0].content[0].source.data', user({ type: 'image', source: { type: 'base64' } })],
    ['messages[0].content[0].source.data', user({ type: 'document', source: { type: 'base64' } })],
    ['messages[0].content[0].content[0].text', user({ type: 'tool_result', content: [{ type: 'text' }] })],
    ['system', { ...HELLO, system: 7 }],
    ['system[0].text', { ...HELLO, system: [{ type: 'text' }] }],
    ['stream', { ...HELLO, stream: 'yes' }],
    ['tools', { ...HELLO, tools: {} }],
    ['tools[0]', { ...HELLO, tools: ['bash'] }],
    ['tool_choice', { ...HELLO, tool_choice: 'auto' }],
    ['thinking', { ...HELLO, thinking: true }],
    ['thinking.type', { ...HELLO, thinking: {} }],
    ['thinking.budget_tokens', { ...HELLO, thinking: { type: 'enabled', budget_tokens: '1024' } }],
    ['stop_sequences', { ...HELLO, stop_sequences: 'END' }],
    ['stop_sequences[1]', { ...HELLO, stop_sequences: ['END', 1] }],
    ['metadata', { ...HELLO, metadata: 'me' }],
    ['metadata.user_id', { ...HELLO, metadata: { user_id: 7 } }],
    ['session_id', { ...HELLO, session_id: 7 }],
    ['Max_Tokens', { ...HELLO, Max_Tokens: 5 }],
    ['fallbacks', { ...HELLO, fallbacks: [{ model: 'dearer' }] }],
    ['tools[1]', { ...HELLO, tools: [{ name: 'a' }, { type: 'advisor_20260301', name: 'advisor', model: 'dearer' }] }],
    ['speed', { ...HELLO, speed: 'fast' }],
  ])('is refused naming %s', (param, body) => {
    const refusal = MESSAGES_DIALECT.parseRequest(Buffer.from(JSON.stringify(body)));
    expect(refusal).toMatchObject({ code: 'INVALID_REQUEST', param });
  });

  it('counts images and pages by the piece wherever they stand, and everything else by its bytes', () => {
    const data = 'A'.repeat(4_000);
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data } };
    const body = user(
      image,
      { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } },
      { type: 'tool_result', tool_use_id: 't', content: [image] },
      { type: 'document', source: { type: 'content', content: [image] } },
      { type: 'document', source: { type: 'text', media_type: 'text/plain', data } },
    );
    const { images, promptTextBytes } = parse(body);
    expect({ images, promptTextBytes }).toEqual({
      images: 4,
      promptTextBytes: JSON.stringify(body).length - 3 * data.length,
    });
  });

  it('counts a page of a PDF as text and image, and what only the provider can read as some pages', () => {
    const pdf = Buffer.from('<</Type/Page>> <</Type/Page>> <</Type /Page>>').toString('base64');
    const sent = { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: pdf } };
    const { images, promptTextBytes } = parse(user(sent));
    expect({ images, promptTextBytes }).toEqual({
      images: 6,
      promptTextBytes: JSON.stringify(user(sent)).length - pdf.length,
    });
    const named = { type: 'document', source: { type: 'url', url: 'https://a.example/b.pdf' } };
    expect(parse(user(named))).toMatchObject({ images: 0, unseenTextBytes: 144_000 });
  });

  it('holds for what tools of the provider bring into the prompt, by what the request bounds it to', () => {
    const held = (...tools: object[]): number | undefined => parse({ ...HELLO, tools }).unseenTextBytes;
    expect(held({ name: 'look', input_schema: {} }, { type: 'bash_20250124', name: 'bash' })).toBe(0);
    const page = 32 * 1024;
    expect(held({ type: 'web_search_20250305', name: 'web_search' })).toBe(page);
    expect(held({ type: 'web_fetch_20250910', name: 'web_fetch' }, { type: 'code_execution_20250825' })).toBe(2 * page);
    expect(held({ type: 'web_fetch_20250910', name: 'web_fetch', max_content_tokens: 100_000 })).toBe(300_000);
    expect(held({ type: 'web_fetch_20250910', name: 'web_fetch', max_content_tokens: -7 })).toBe(page);
    const servers = [{ type: 'url', url: 'https://mcp.example', name: 'a' }];
    expect(parse({ ...HELLO, mcp_servers: servers }).unseenTextBytes).toBe(page);
  });

  it('takes the speed that its price is for', () => {
    expect(parse({ ...HELLO, speed: 'standard' }).model).toBe('claude');
    expect(parse({ ...HELLO, speed: null }).model).toBe('claude');
  });

  it.each([
    ['user_0a_account_1b_session_9f3c-22', '9f3c-22'],
    ['{"device_id":"d","account_uuid":"","session_id":"9f3c-22"}', '9f3c-22'],
    ['{"device_id":"d"}', undefined],
    ['{broken', undefined],
    ['somebody', undefined],
    [`user_session_${'x'.repeat(300)}`, undefined],
  ])('takes %s for session %p', (user_id, sessionId) => {
    expect(parse({ ...HELLO, metadata: { user_id } }).sessionId).toBe(sessionId);
  });

  it('is passed on byte for byte but for the model and the session, which is ours', () => {
    const text =
      '{ "model":"claude", "max_tokens":64,"big":12345678901234567890,"messages":[{"role":"user","content":"é"}]}';
    const request = parse(text);
    expect(MESSAGES_DIALECT.passOn(request, 'claude')).toBe(request.raw);
    expect(MESSAGES_DIALECT.passOn(request, 'other').toString()).toBe(text.replace('"claude"', '"other"'));
    const named = parse(text.replace('"big"', '"session_id":"s","big"'));
    expect(MESSAGES_DIALECT.passOn(named, 'claude').toString()).toBe(text.replace(/ /g, ''));
  });

  it('is passed on without thoughts of other providers, which Anthropic would refuse', () => {
    const thought = (signature: string): object => ({ type: 'thinking', thinking: 'Hm', signature });
    const call = { type: 'tool_use', id: 't', name: 'look', input: {} };
    const result = { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't' }] };
    const asked = (...content: object[]): InferenceRequest => {
      const turns = [{ role: 'assistant', content }, result];
      const thinking = { type: 'enabled', budget_tokens: 2_000 };
      return parse({ ...HELLO, model: 'claude-sonnet-4-5', thinking, messages: [...HELLO.messages, ...turns] });
    };
    const passed = (request: InferenceRequest, model: string): Record<string, unknown> =>
      JSON.parse(MESSAGES_DIALECT.passOn(request, model).toString()) as Record<string, unknown>;

    const own = asked(thought('EvQB'), call);
    expect(MESSAGES_DIALECT.passOn(own, own.model)).toBe(own.raw);
    for (const foreign of [thought(''), thought('gAAAAABo'), { type: 'redacted_thinking', data: 'gAAAAABo' }]) {
      const sent = passed(asked(foreign, call), 'claude-sonnet-4-5');
      expect(sent.messages).toEqual([...HELLO.messages, { role: 'assistant', content: [call] }, result]);
      expect(sent.thinking).toEqual({ type: 'disabled' });
      expect(passed(asked(foreign, call), 'claude-opus-4-8').thinking).toMatchObject({ type: 'enabled' });
      expect(passed(asked(foreign), 'claude-sonnet-4-5').messages).toEqual([...HELLO.messages, result]);
    }
  });

  it('says for the tokenizer what the model reads', () => {
    const body = {
      system: [{ type: 'text', text: 'Be kind.' }],
      messages: [
        { role: 'user', content: 'Hi' },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'Hm', signature: 'x' },
            { type: 'tool_use', id: 't', name: 'look', input: { at: 1 } },
          ],
        },
        {
          role: 'user',
          content: [{ type: 'tool_result', tool_use_id: 't', content: [{ type: 'text', text: 'seen' }] }],
        },
      ],
      tools: [{ name: 'look' }],
    };
    expect(MESSAGES_DIALECT.promptText(body)).toEqual({
      texts: ['Be kind.', 'user', 'Hi', 'assistant', 'Hm', 'look', '{"at":1}', 'user', 'seen', '[{"name":"look"}]'],
      frameTokens: 12,
    });
  });
});

describe('a whole message', () => {
  const read = (body: unknown): ReturnType<typeof MESSAGES_DIALECT.readAnswer> =>
    MESSAGES_DIALECT.readAnswer(Buffer.from(JSON.stringify(body)));

  it('tells usage, end and text', () => {
    const answer = read({
      content: [
        { type: 'thinking', thinking: 'Hm' },
        { type: 'text', text: 'Hello' },
        { type: 'tool_use', name: 'look', input: { at: 1 } },
      ],
      stop_reason: 'tool_use',
      usage: { input_tokens: 3, output_tokens: 9 },
    });
    expect(answer).toMatchObject({
      usage: { ...NO_TOKENS, inputUncached: 3, output: 9 },
      finishReason: 'tool_use',
      chunks: 3,
    });
    expect(answer?.text()).toEqual({ output: ['Hello', 'look', '{"at":1}'], reasoning: ['Hm'] });
  });

  it('is an error where it says so, whatever its status was', () => {
    const error = { type: 'overloaded_error', message: 'Overloaded' };
    expect(read({ type: 'error', error })).toMatchObject({ errorEvent: error, chunks: 0 });
    expect(read([])).toBeUndefined();
  });
});
