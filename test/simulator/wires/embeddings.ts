import { createHash } from 'node:crypto';
import { type Answer, type Usage, zeroUsage } from '../answer';
import { BehaviourError } from '../behaviour';
import { type JsonRecord, numberOr, RequestError, requiredModel, type SimRequest } from '../request';
import { encodeFrame, plainUsage, type Wire } from '../wire';
import { openAiError } from './chat';

const DEFAULT_DIMENSIONS = 16;

/** OpenAI's embeddings: vectors made from a hash, so that equal inputs have equal ones. */
export const embeddingsWire: Wire = {
  name: 'openai-embeddings',
  read: (body) => {
    const inputs = inputsOf(body);
    return {
      wire: 'openai-embeddings',
      model: requiredModel(body),
      isStream: false,
      wantsUsage: true,
      prompt: inputs.join('\n'),
      maxTokens: undefined,
      choices: 1,
      stopSequences: [],
      images: [],
      tools: [],
      forcedTool: undefined,
      body,
    };
  },
  stream: () => {
    throw new BehaviourError('simulator: embeddings are not streamed');
  },
  whole: (request, answer, behaviour) => {
    const told = plainUsage(answer, behaviour, 'openai-embeddings');
    const usage = told ? inputOnly(told) : undefined;
    const data = inputsOf(request.body).map((input, index) => ({
      object: 'embedding',
      index,
      embedding: encoded(vectorOf(input, request.body), request.body),
    }));
    const { prompt_tokens, total_tokens } = usage ?? zeroUsage();
    const reported = told === undefined ? {} : { usage: told === null ? null : { prompt_tokens, total_tokens } };
    return { json: JSON.stringify({ object: 'list', data, model: request.model, ...reported }), usage };
  },
  errorEvent: (_request: SimRequest, _answer: Answer, behaviour) => encodeFrame(behaviour, undefined, '{}'),
  garbage: (behaviour) => encodeFrame(behaviour, undefined, '{'),
  errorBody: openAiError,
};

/** Nothing is written. */
function inputOnly(usage: Usage): Usage {
  const { prompt_tokens } = usage;
  return { ...zeroUsage(), prompt_tokens, total_tokens: prompt_tokens };
}

/** A text, texts, the tokens of a text, or those of several: one input a vector. */
function inputsOf({ input }: JsonRecord): string[] {
  if (typeof input === 'string' && input !== '') return [input];
  if (Array.isArray(input) && input.length > 0) {
    const isTokens = input.every((each) => typeof each === 'number');
    return isTokens
      ? [input.join(' ')]
      : input.map((each: unknown) => (Array.isArray(each) ? each.join(' ') : String(each)));
  }
  throw new RequestError('input', 'expected a text, or a list that is not empty');
}

function vectorOf(input: string, body: JsonRecord): number[] {
  const dimensions = numberOr(body.dimensions) ?? DEFAULT_DIMENSIONS;
  const hash = createHash('sha256').update(input).digest();
  const raw = Array.from({ length: dimensions }, (_, i) => (hash[i % hash.length] ?? 0) - 127.5);
  const length = Math.hypot(...raw);
  return raw.map((value) => Math.fround(value / length));
}

function encoded(vector: readonly number[], body: JsonRecord): readonly number[] | string {
  if (body.encoding_format !== 'base64') return vector;
  return Buffer.from(new Float32Array(vector).buffer).toString('base64');
}
