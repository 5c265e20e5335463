import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';

import { estimateTokens, NO_TOKENS } from '../../../catalogue/price';
import { estimateInputOf } from '../../workflow/hold-request';
import type { InferenceRequest } from '../inference-request';
import { isRefusal } from '../invalid-request';
import { EMBEDDINGS_DIALECT } from './embeddings-dialect';

const RECORDING = join(__dirname, '..', '..', '..', '..', '..', 'shared', 'recorded-streams', 'openai-embedding.json');
const PROFILE = {
  model: 'm',
  isReasoning: false,
  defaultOutputReserveTokens: 4096,
  maxOutputTokens: null,
  tokensPerImage: 1000,
};

function parse(body: string | object): InferenceRequest {
  const parsed = EMBEDDINGS_DIALECT.parseRequest(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));
  if (isRefusal(parsed)) throw new Error(JSON.stringify(parsed));
  return parsed;
}

function refusedField(body: object): string | undefined {
  const parsed = EMBEDDINGS_DIALECT.parseRequest(Buffer.from(JSON.stringify(body)));
  if (!isRefusal(parsed)) throw new Error('was accepted');
  return parsed.param;
}

const read = (body: unknown): ReturnType<typeof EMBEDDINGS_DIALECT.readAnswer> =>
  EMBEDDINGS_DIALECT.readAnswer(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));

const tokenId = fc.nat(200_000);
const inputs = fc.oneof(
  fc.string({ unit: 'grapheme', minLength: 1 }),
  fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1 }),
  fc.array(tokenId, { minLength: 1 }),
  fc.array(fc.array(tokenId, { minLength: 1 }), { minLength: 1 }),
);

describe('EMBEDDINGS_DIALECT', () => {
  it('takes a text, texts, tokens and lists of tokens', () => {
    for (const input of ['a', ['a', 'b'], [1, 2], [[1, 2], [3]]]) {
      expect(parse({ model: 'm', input })).toMatchObject({ model: 'm', stream: false, choices: 1, images: 0 });
    }
  });

  it('names the field that cannot be used', () => {
    expect(refusedField({ input: 'a' })).toBe('model');
    for (const input of [undefined, null, '', [], 7, {}]) expect(refusedField({ model: 'm', input })).toBe('input');
    expect(refusedField({ model: 'm', input: ['a', 7] })).toBe('input[1]');
    expect(refusedField({ model: 'm', input: [[1], 'a'] })).toBe('input[1]');
    expect(refusedField({ model: 'm', input: [[1], []] })).toBe('input[1]');
    expect(refusedField({ model: 'm', input: [1, 'a'] })).toBe('input[1]');
    expect(refusedField({ model: 'm', input: [[1, -2]] })).toBe('input[0][1]');
    expect(refusedField({ model: 'm', input: [{ type: 'text', text: 'a' }] })).toBe('input[0]');
    expect(refusedField({ model: 'm', input: Array(2049).fill('a') })).toBe('input');
    expect(refusedField({ model: 'm', input: Array(1_000_001).fill(1) })).toBe('input');
    const odd = { stream: true, dimensions: 0, encoding_format: 1, user: 1, session_id: 1, Input: 'b' };
    for (const [field, value] of Object.entries(odd)) {
      expect(refusedField({ model: 'm', input: 'a', [field]: value })).toBe(field);
    }
  });

  it('sends the bytes of the client, but for the name of the model and the session', () => {
    const body = '{ "model":"ours", "input":"a", "seed":12345678901234567890, "dimensions": 3 }';
    expect(EMBEDDINGS_DIALECT.passOn(parse(body), 'ours').toString()).toBe(body);
    expect(EMBEDDINGS_DIALECT.passOn(parse(body), 'theirs').toString()).toBe(body.replace('ours', 'theirs'));
    const named = parse({ model: 'ours', input: [1], session_id: 's' });
    expect(JSON.parse(EMBEDDINGS_DIALECT.passOn(named, 'theirs').toString())).toEqual({ model: 'theirs', input: [1] });
  });

  it('reserves no output, and for each token of the input at least one', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const request = parse({ model: 'm', input });
        const { inputTokens, outputTokens } = estimateTokens(estimateInputOf(request), PROFILE);
        const { texts, frameTokens } = EMBEDDINGS_DIALECT.promptText(request.body);
        const textBytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
        expect(outputTokens).toBe(0);
        expect(inputTokens).toBeGreaterThanOrEqual(Math.max(1, Math.ceil(textBytes / 3) + frameTokens));
      }),
    );
  });

  it('estimates tokens by their number, not by their digits', () => {
    const request = parse({ model: 'm', input: Array(1000).fill(123_456) });
    const { inputTokens } = estimateTokens(estimateInputOf(request), PROFILE);
    expect(inputTokens).toBeGreaterThanOrEqual(1000);
    expect(inputTokens).toBeLessThan(1020);
  });

  it('knows the prompt where the provider reports no usage', () => {
    expect(EMBEDDINGS_DIALECT.promptText({ input: 'a' })).toEqual({ texts: ['a'], frameTokens: 0 });
    expect(EMBEDDINGS_DIALECT.promptText({ input: ['a', 'b'] })).toEqual({ texts: ['a', 'b'], frameTokens: 0 });
    expect(EMBEDDINGS_DIALECT.promptText({ input: [1, 2] })).toEqual({ texts: [], frameTokens: 2 });
    expect(EMBEDDINGS_DIALECT.promptText({ input: [[1, 2], [3]] })).toEqual({ texts: [], frameTokens: 3 });
  });

  it('reads the usage of an answer, and no output', () => {
    const data = [{ object: 'embedding', index: 0, embedding: [0.1, -2] }];
    const answer = read({ object: 'list', data, model: 'm', usage: { prompt_tokens: 8, total_tokens: 8 } });
    expect(answer).toMatchObject({ usage: { ...NO_TOKENS, inputUncached: 8 }, isUsageFinal: true, chunks: 0 });
    expect(answer?.text()).toEqual({ output: [], reasoning: [] });
    expect(read({ object: 'list', data })).not.toHaveProperty('usage');
    expect(read({ object: 'list', data, usage: { prompt_tokens: -1 } })).not.toHaveProperty('usage');
  });

  it('sees an error in a body of status 200, and nothing in what is no answer', () => {
    for (const body of [{ error: { message: 'x' } }, { object: 'error', message: 'x' }]) {
      expect(read({ ...body, usage: { prompt_tokens: 8 } })?.errorEvent).toBeDefined();
      expect(read({ ...body, usage: { prompt_tokens: 8 } })?.usage).toBeUndefined();
    }
    for (const body of ['', '[]', 'oops', '{"data":[', '{"usage": oops}']) expect(read(body)).toBeUndefined();
  });

  const recording = existsSync(RECORDING) ? it : it.skip;
  recording('reads the usage of a recorded answer', () => {
    expect(read(readFileSync(RECORDING, 'utf8'))?.usage).toEqual({ ...NO_TOKENS, inputUncached: 12 });
  });
});
