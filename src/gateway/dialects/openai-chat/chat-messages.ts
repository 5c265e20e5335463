import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { invalid, isRefusal } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import type {
  NeutralAssistantPart,
  NeutralDocument,
  NeutralImage,
  NeutralMessage,
  NeutralReasoningPart,
  NeutralText,
  NeutralToolCall,
  NeutralToolResult,
} from '../neutral/neutral-request';
import { cacheControlOf, optionalText, readEach, requiredText, unknownField, untranslatable } from './chat-fields';
import { readContent, readText, readToolPart, readUserPart } from './chat-parts';

const COMMON_FIELDS = ['role', 'content', 'name', 'cache_control', 'prompt_cache_breakpoint'];
const PLAIN_FIELDS: ReadonlySet<string> = new Set(COMMON_FIELDS);
const TOOL_FIELDS: ReadonlySet<string> = new Set([...COMMON_FIELDS, 'tool_call_id']);
/** `annotations` and `parsed` come with answers that SDKs send back as they are: they tell the model nothing. */
const ASSISTANT_FIELDS: ReadonlySet<string> = new Set([
  ...COMMON_FIELDS,
  'refusal',
  'reasoning_content',
  'reasoning',
  'reasoning_details',
  'tool_calls',
  'annotations',
  'parsed',
]);
/** Of a tool call. The index is of the stream, `extra_content` another provider's own. */
const CALL_FIELDS: ReadonlySet<string> = new Set([
  'id',
  'type',
  'index',
  'function',
  'custom',
  'cache_control',
  'extra_content',
]);

export interface ReadMessages {
  /** Those of the system and the developer that come before any other. */
  readonly instructions: readonly NeutralText[];
  readonly messages: readonly NeutralMessage[];
}

/** Results of the tools that one answer called stand in one message, however many messages chat has for them. */
export function readMessages(messages: unknown): ReadMessages | Refusal {
  const instructions: NeutralText[] = [];
  const read: NeutralMessage[] = [];
  let results: NeutralToolResult[] | undefined;
  for (const [index, message] of (isArray(messages) ? messages : []).entries()) {
    const path = `messages[${index}]`;
    if (!isObject(message)) return invalid(path, 'must be an object');
    if (message.role === 'tool') {
      const result = readToolMessage(message, path);
      if (isRefusal(result)) return result;
      if (!results) read.push({ role: 'user', content: (results = []) });
      results.push(result);
      continue;
    }
    results = undefined;
    const one = readMessage(message, path);
    if (isRefusal(one)) return one;
    if (one.role === 'system' && read.length === 0) instructions.push(...one.content);
    else read.push(one);
  }
  return { instructions, messages: read };
}

function readMessage(message: JsonObject, path: string): NeutralMessage | Refusal {
  switch (message.role) {
    case 'system':
    case 'developer': {
      const content = readPlain(message, path, readText);
      return isRefusal(content) ? content : { role: 'system', path, content };
    }
    case 'user': {
      const content = readPlain(message, path, readUserPart);
      return isRefusal(content) ? content : { role: 'user', content, ...optionalText(message, 'name', 'name') };
    }
    case 'assistant':
      return readAssistant(message, path);
    default:
      return untranslatable(`${path}.role`);
  }
}

/** A mark for the cache on the message is one on its last part. */
function readPlain<T extends object>(
  message: JsonObject,
  path: string,
  read: (part: JsonObject, path: string) => T | readonly T[] | Refusal,
): readonly (T | NeutralText)[] | Refusal {
  const refusal = unknownField(message, PLAIN_FIELDS, path);
  if (isAbsent(message.content)) return refusal ?? invalid(`${path}.content`, 'must be a string or an array of parts');
  const parts = refusal ?? readContent(message.content, `${path}.content`, read);
  if (isRefusal(parts)) return parts;
  const last = parts.at(-1);
  return last === undefined ? parts : [...parts.slice(0, -1), { ...cacheControlOf(message), ...last }];
}

function readToolMessage(message: JsonObject, path: string): NeutralToolResult | Refusal {
  const refusal = unknownField(message, TOOL_FIELDS, path);
  const callId = refusal ?? requiredText(message, 'tool_call_id', path);
  if (typeof callId !== 'string') return callId;
  const content = readContent<NeutralImage | NeutralDocument | NeutralText>(
    message.content,
    `${path}.content`,
    readToolPart,
  );
  return isRefusal(content) ? content : { type: 'tool_result', path, callId, content, ...cacheControlOf(message) };
}

function readAssistant(message: JsonObject, path: string): NeutralMessage | Refusal {
  const refusal = unknownField(message, ASSISTANT_FIELDS, path);
  if (refusal) return refusal;
  const thoughts = readThoughts(message, path);
  const content = readContent(message.content, `${path}.content`, readAssistantPart);
  const calls = readEach(message.tool_calls, `${path}.tool_calls`, readCall);
  for (const read of [thoughts, content, calls]) if (isRefusal(read)) return read;
  const said = typeof message.refusal === 'string' && message.refusal !== '' ? [refusalOf(message.refusal)] : [];
  const parts = [thoughts, content, said, calls] as readonly (readonly NeutralAssistantPart[])[];
  return { role: 'assistant', content: parts.flat() };
}

function readAssistantPart(part: JsonObject, path: string): NeutralAssistantPart | readonly NeutralText[] | Refusal {
  if (part.type !== 'refusal') return readText(part, path);
  const text = requiredText(part, 'refusal', path);
  return typeof text === 'string' ? refusalOf(text) : text;
}

function refusalOf(text: string): NeutralAssistantPart {
  return { type: 'refusal', text };
}

/** The details say all that the plain text does, and what proves it. */
function readThoughts(message: JsonObject, path: string): readonly NeutralReasoningPart[] | Refusal {
  const details = readEach(message.reasoning_details, `${path}.reasoning_details`, readDetail);
  if (isRefusal(details)) return details;
  const plain = message.reasoning_content ?? message.reasoning;
  const isSaid = details.some(({ part }) => part.text !== '');
  if (typeof plain === 'string' && plain !== '' && !isSaid) {
    return [{ type: 'reasoning', path: `${path}.reasoning_content`, text: plain }, ...details.map(({ part }) => part)];
  }
  return joined(details);
}

interface Detail {
  readonly part: NeutralReasoningPart;
  readonly index: unknown;
}

function readDetail(detail: JsonObject, path: string): Detail | Refusal {
  const { type, text, summary, data, signature, index } = detail;
  const shared = { type: 'reasoning', path, ...optionalText(detail, 'id', 'id') } as const;
  switch (type) {
    case 'reasoning.encrypted':
      if (typeof data !== 'string') return invalid(`${path}.data`, 'must be a string');
      return { index, part: { ...shared, text: '', signature: data, isRedacted: true } };
    case 'reasoning.text':
    case 'reasoning.summary': {
      const said = text ?? summary ?? '';
      if (typeof said !== 'string') return invalid(`${path}.text`, 'must be a string');
      return { index, part: { ...shared, text: said, ...(typeof signature === 'string' ? { signature } : {}) } };
    }
    default:
      return untranslatable(`${path}.type`);
  }
}

/** Details may be sent back as they were streamed: in pieces with the same index, the last with the signature. */
function joined(details: readonly Detail[]): readonly NeutralReasoningPart[] {
  const whole: Detail[] = [];
  for (const detail of details) {
    const last = whole.at(-1);
    const isMore =
      last?.index !== undefined &&
      last.index === detail.index &&
      last.part.signature === undefined &&
      detail.part.isRedacted !== true;
    if (isMore) whole.pop();
    const text = (isMore ? last.part.text : '') + detail.part.text;
    whole.push({ ...detail, part: { ...(isMore ? last.part : {}), ...detail.part, text } });
  }
  return whole.map(({ part }) => part);
}

function readCall(call: JsonObject, path: string): NeutralToolCall | Refusal {
  const refusal = unknownField(call, CALL_FIELDS, path);
  const callId = refusal ?? requiredText(call, 'id', path);
  if (typeof callId !== 'string') return callId;
  const isCustom = isObject(call.custom);
  const [place, called] = isCustom ? [`${path}.custom`, call.custom] : [`${path}.function`, call.function];
  if (!isObject(called)) return invalid(place, 'must be an object');
  const name = requiredText(called, 'name', place);
  if (typeof name !== 'string') return name;
  const text = isCustom ? called.input : called.arguments;
  if (!isAbsent(text) && typeof text !== 'string') {
    return invalid(`${place}.${isCustom ? 'input' : 'arguments'}`, 'must be a string');
  }
  const written = isCustom ? (text ?? '') : isAbsent(text) || text === '' ? '{}' : text;
  const kind = isCustom ? 'custom' : 'function';
  return { type: 'tool_call', path, kind, callId, name, arguments: written, ...cacheControlOf(call) };
}
