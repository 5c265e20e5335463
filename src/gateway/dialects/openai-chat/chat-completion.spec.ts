import { spliceModel } from '../whole-answer';
import { readChatCompletion } from './chat-completion';

const read = (body: unknown): ReturnType<typeof readChatCompletion> =>
  readChatCompletion(Buffer.from(JSON.stringify(body)));

describe('readChatCompletion', () => {
  it('is nothing when the body is no JSON object', () => {
    for (const body of ['', 'oops', '[]', '"text"', '{"choices":'])
      expect(readChatCompletion(Buffer.from(body))).toBeUndefined();
  });

  it('sees an error in a body of status 200, and bills no text of it', () => {
    for (const body of [{ error: { message: 'x' } }, { error: 'x' }, { object: 'error', message: 'x' }]) {
      const answer = read({
        ...body,
        choices: [{ message: { content: 'text' } }],
        usage: { prompt_tokens: 1, completion_tokens: 1 },
      });
      expect(answer?.errorEvent).toBeDefined();
      expect(answer?.usage).toBeUndefined();
      expect(answer?.text()).toEqual({ output: [], reasoning: [] });
    }
    expect(read({ error: null, choices: [] })?.errorEvent).toBeUndefined();
  });

  it('reads every choice, without usage where none is credible', () => {
    const answer = read({
      choices: [
        { index: 0, finish_reason: 'stop', message: { content: 'a', reasoning_content: 'r' } },
        {
          index: 1,
          finish_reason: 'length',
          message: { content: 'b', tool_calls: [{ function: { name: 'f', arguments: '{}' } }] },
        },
      ],
      usage: { prompt_tokens: null },
    });
    expect(answer).toMatchObject({ chunks: 2, finishReason: 'stop', isUsageFinal: true });
    expect(answer?.usage).toBeUndefined();
    expect(answer?.text()).toEqual({ output: ['a', 'b', 'f', '{}'], reasoning: ['r'] });
  });
});

describe('spliceModel', () => {
  it('replaces the top-level model, every other byte as it came', () => {
    const body = '{"id":1, "x":{"model":"a"} ,"model" : "a","seed":12345678901234567890}\n';
    expect(spliceModel(Buffer.from(body), 'b').toString()).toBe(body.replace('"model" : "a"', '"model" : "b"'));
  });

  it('leaves a body without a model, or that is no object, alone', () => {
    for (const body of ['{"id":1}', '[1]', 'oops']) expect(spliceModel(Buffer.from(body), 'b').toString()).toBe(body);
  });
});
