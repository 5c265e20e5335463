import type { UpstreamTarget } from '../../upstreams/upstream.port';
import type { ApiDialect } from '../../upstreams/upstream.port';
import { DIALECTS } from '../dialects/dialects';
import type { AttemptResult } from '../stream/response-reader';
import { type AttemptFacts, judgeAttempt, type JudgedAttempt } from './attempt-verdict';

const target = {
  baseUrl: 'https://api.theirs.test/v1',
  apiKey: 'sk-ant-secret',
  upstreamModel: 'claude-there',
} as UpstreamTarget;

function judge(status: number, body: object, wire: ApiDialect, facts: Partial<AttemptFacts> = {}): JudgedAttempt {
  const result: AttemptResult = { kind: 'body', status, headers: {}, body: Buffer.from(JSON.stringify(body)) };
  return judgeAttempt(result, {
    target,
    readAnswer: DIALECTS[wire].readAnswer,
    isTranslated: false,
    model: 'ours',
    isOpened: false,
    attempts: 1,
    hasNext: true,
    nowMs: 0,
    ...facts,
  });
}

const anthropicError = (type: string, message: string): object => ({ type: 'error', error: { type, message } });

describe('an attempt at an Anthropic provider', () => {
  it('that is refused for the caller’s fault is told in its words, without ours', () => {
    const error = anthropicError('invalid_request_error', 'claude-there: max_tokens is too large (sk-ant-secret)');
    expect(judge(400, error, 'anthropic-messages').verdict).toEqual({
      kind: 'rejected',
      refusal: {
        code: 'UPSTREAM_REJECTED',
        status: 400,
        values: { message: 'ours: max_tokens is too large ([removed])' },
      },
    });
  });

  it.each([
    [529, 'overloaded_error'],
    [500, 'api_error'],
    [401, 'authentication_error'],
    [403, 'permission_error'],
  ])('is followed by another upstream after a %i, and is an error of the upstream at the last', (status, type) => {
    const error = anthropicError(type, 'account 7');
    expect(judge(status, error, 'anthropic-messages').verdict.kind).toBe('retry');
    const last = judge(status, error, 'anthropic-messages', { hasNext: false }).verdict;
    expect(last).toEqual({ kind: 'rejected', refusal: { code: 'UPSTREAM_ERROR' } });
  });

  it('that answers an error with a success status is followed by another', () => {
    const { verdict, reported } = judge(200, anthropicError('overloaded_error', 'x'), 'anthropic-messages');
    expect([verdict.kind, reported]).toEqual(['retry', { kind: 'failure', failure: 'reset' }]);
  });

  it('is answered by a message, and by nothing of another dialect', () => {
    const usage = { input_tokens: 3, output_tokens: 4 };
    const message = { type: 'message', role: 'assistant', content: [], stop_reason: 'end_turn', usage };
    expect(judge(200, message, 'anthropic-messages').verdict).toMatchObject({
      kind: 'answered',
      answer: { completion: { usage: { inputUncached: 3, output: 4 }, finishReason: 'end_turn' } },
    });
  });
});

describe('a success whose body is no answer of its dialect', () => {
  const strange = { code: 40_013, msg: 'no such plan' };

  it.each<ApiDialect>(['openai-chat', 'openai-responses', 'anthropic-messages', 'openai-embeddings'])(
    'is followed by another upstream (%s): nobody pays for a prompt that was not answered',
    (wire) => {
      for (const body of [strange, {}]) {
        const { verdict, reported } = judge(200, body, wire);
        expect([verdict.kind, reported]).toEqual(['retry', { kind: 'failure', failure: 'reset' }]);
      }
    },
  );

  it.each<[ApiDialect, object]>([
    ['openai-chat', { choices: [] }],
    ['openai-chat', { usage: { prompt_tokens: 1, completion_tokens: 0 } }],
    ['openai-responses', { output: [] }],
    ['openai-responses', { usage: { input_tokens: 1, output_tokens: 0 } }],
    ['anthropic-messages', { content: [] }],
    ['anthropic-messages', { usage: { input_tokens: 1, output_tokens: 0 } }],
    ['openai-embeddings', { data: [] }],
    ['openai-embeddings', { usage: { prompt_tokens: 1 } }],
  ])('is an answer where it has the answer’s place or its usage (%s)', (wire, body) => {
    expect(judge(200, body, wire).verdict.kind).toBe('answered');
  });
});

describe('the field that a provider names in its refusal', () => {
  const error = { error: { message: 'not supported', type: 'invalid_request_error', param: 'messages[0].name' } };
  const paramOf = (isTranslated: boolean): unknown => {
    const { verdict } = judge(400, error, 'openai-chat', { isTranslated });
    return verdict.kind === 'rejected' ? verdict.refusal.param : verdict;
  };

  it('is told where the client speaks the same dialect', () => {
    expect(paramOf(false)).toBe('messages[0].name');
  });

  it('is not told of a translated request: the client sent no such field', () => {
    expect(paramOf(true)).toBeUndefined();
  });
});
