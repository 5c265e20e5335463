import { TEXT_BYTES_PER_TOKEN } from '../../../catalogue/price';
import { type Refusal } from '../../../kernel/errors';
import type { JsonObject } from '../../../kernel/json-object';
import type { InferenceRequest } from '../inference-request';
import { invalid } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import { modelOf } from '../field-checks';
import type { PromptText } from '../prompt-text';
import { parseRequestBody, PricedFields, type RequestBody } from '../request-body';
import { memberOf } from '../top-level-scan';

/** As OpenAI bounds it. */
const MAX_INPUTS = 2048;
/** Of all inputs together; more than any provider takes in one call. */
const MAX_TOKEN_IDS = 1_000_000;
const MAX_DIMENSIONS = 1_000_000;
const PRICED_FIELDS = new PricedFields(['model', 'input', 'stream']);

/** Never throws: a body that cannot be used is a refusal that names the field. */
export function parseEmbeddingsRequest(raw: Buffer): InferenceRequest | Refusal {
  const parsed = parseRequestBody(raw, PRICED_FIELDS);
  if ('code' in parsed) return parsed;
  const { bytes, layout, body } = parsed;
  const model = modelOf(body);
  if (typeof model !== 'string') return model;
  const refusal = checkInput(body.input) ?? checkOptions(body);
  if (refusal) return refusal;
  return {
    dialect: 'openai-embeddings',
    raw: bytes,
    layout,
    body,
    model,
    stream: false,
    includeUsage: false,
    maxOutputTokens: 0,
    choices: 1,
    promptTextBytes: promptBytes(parsed),
    images: 0,
    audioParts: 0,
    audioDataBytes: 0,
    asksForAudio: false,
    asksForImages: false,
  };
}

/** Inputs that are tokens already need no tokenizer: they are counted. */
export function embeddingsPromptText({ input }: JsonObject): PromptText {
  if (typeof input === 'string') return { texts: [input], frameTokens: 0 };
  const texts = isArray(input) ? input.filter((text) => typeof text === 'string') : [];
  return { texts, frameTokens: tokenIdsIn(input) };
}

/** Token ids are written with any number of digits; the estimate is to find one token in each. */
function promptBytes({ bytes, layout, body }: RequestBody): number {
  const tokenIds = tokenIdsIn(body.input);
  const member = memberOf(layout, 'input');
  if (tokenIds === 0 || !member) return bytes.length;
  return bytes.length - (member.valueEnd - member.valueStart) + tokenIds * TEXT_BYTES_PER_TOKEN;
}

function tokenIdsIn(input: unknown): number {
  if (!isArray(input)) return 0;
  return input.reduce<number>((sum, part) => sum + (isArray(part) ? part.length : typeof part === 'number' ? 1 : 0), 0);
}

function checkInput(input: unknown): Refusal | undefined {
  if (typeof input === 'string') return input === '' ? invalid('input', 'must not be empty') : undefined;
  if (!isArray(input)) return invalid('input', 'must be a string or an array');
  if (input.length === 0) return invalid('input', 'must not be empty');
  if (tokenIdsIn(input) > MAX_TOKEN_IDS) return invalid('input', `must not have more than ${MAX_TOKEN_IDS} tokens`);
  if (typeof input[0] === 'number') return checkTokenIds(input, 'input');
  if (input.length > MAX_INPUTS) return invalid('input', `must not have more than ${MAX_INPUTS} elements`);
  const areTexts = typeof input[0] === 'string';
  for (const [index, part] of input.entries()) {
    const path = `input[${index}]`;
    const refusal = areTexts ? checkText(part, path) : checkTokenIds(part, path);
    if (refusal) return refusal;
  }
  return undefined;
}

function checkText(text: unknown, path: string): Refusal | undefined {
  return typeof text === 'string' ? undefined : invalid(path, 'must be a string, as the elements before it');
}

function checkTokenIds(ids: unknown, path: string): Refusal | undefined {
  if (!isArray(ids)) return invalid(path, 'must be a string or an array of tokens');
  if (ids.length === 0) return invalid(path, 'must not be empty');
  const odd = ids.findIndex((id) => typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0);
  return odd < 0 ? undefined : invalid(`${path}[${odd}]`, 'must be a token: a whole number that is not negative');
}

function checkOptions({ stream, dimensions, encoding_format, user, session_id }: JsonObject): Refusal | undefined {
  if (!isAbsent(stream) && stream !== false) return invalid('stream', 'is not possible: embeddings come whole');
  if (!isAbsent(dimensions) && !isDimension(dimensions)) return invalid('dimensions', 'must be a positive integer');
  if (!isAbsent(encoding_format) && typeof encoding_format !== 'string') {
    return invalid('encoding_format', 'must be a string');
  }
  if (!isAbsent(user) && typeof user !== 'string') return invalid('user', 'must be a string');
  if (!isAbsent(session_id) && typeof session_id !== 'string') return invalid('session_id', 'must be a string');
  return undefined;
}

function isDimension(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_DIMENSIONS;
}
