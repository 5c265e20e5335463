import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { invalid, isRefusal } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import type {
  NeutralAssistantPart,
  NeutralMessage,
  NeutralReasoningPart,
  NeutralText,
  NeutralUserPart,
} from '../neutral/neutral-request';
import { plainToolName } from './declared-tools';
import { readContent, readOutputPart, readTextPart, readUserPart } from './input-parts';
import { redactedDataIn } from './redacted-reasoning';

/** What the input says: what stands before the conversation, and the conversation. */
export interface InputMessages {
  readonly instructions: readonly NeutralText[];
  readonly messages: readonly NeutralMessage[];
}

export function readInputMessages(input: unknown): InputMessages | Refusal {
  const collected = new Collected();
  const items = isArray(input) ? input : [{ role: 'user', content: input }];
  for (const [index, item] of items.entries()) {
    const path = `input[${index}]`;
    const refusal = isObject(item) ? addItem(item, path, collected) : invalid(path, 'must be an object');
    if (refusal) return refusal;
  }
  return collected;
}

/** Items that stand next to each other and are of one turn are one message. */
class Collected implements InputMessages {
  readonly instructions: NeutralText[] = [];
  readonly messages: NeutralMessage[] = [];
  private assistant: NeutralAssistantPart[] | undefined;
  private results: NeutralUserPart[] | undefined;

  addAssistant(...parts: readonly NeutralAssistantPart[]): void {
    if (!this.assistant) this.messages.push({ role: 'assistant', content: (this.assistant = []) });
    this.results = undefined;
    this.assistant.push(...parts);
  }

  addResult(part: NeutralUserPart): void {
    if (!this.results) this.messages.push({ role: 'user', content: (this.results = []) });
    this.assistant = undefined;
    this.results.push(part);
  }

  addUser(content: readonly NeutralUserPart[]): void {
    this.assistant = undefined;
    this.results = undefined;
    this.messages.push({ role: 'user', content });
  }

  addSystem(content: readonly NeutralText[], path: string): void {
    if (this.messages.length === 0) {
      this.instructions.push(...content);
      return;
    }
    this.assistant = undefined;
    this.results = undefined;
    this.messages.push({ role: 'system', content, path });
  }
}

function addItem(item: JsonObject, path: string, collected: Collected): Refusal | undefined {
  const { type } = item;
  if (type === 'item_reference' || (isAbsent(type) && isAbsent(item.role) && typeof item.id === 'string')) {
    return invalid(
      path,
      'refers to a stored item: stored responses are not served yet, send the item itself (store: false)',
    );
  }
  if (isAbsent(type)) return addMessage(item, path, collected);
  switch (type) {
    case 'message':
      return addMessage(item, path, collected);
    case 'function_call':
    case 'custom_tool_call':
      return addCall(item, path, collected);
    case 'function_call_output':
    case 'custom_tool_call_output':
      return addCallOutput(item, path, collected);
    case 'reasoning':
      collected.addAssistant(...reasoningOf(item, path));
      return undefined;
    default:
      return invalid(`${path}.type`, 'is not supported for this model: only its own provider knows such items');
  }
}

function addMessage({ role, content }: JsonObject, path: string, collected: Collected): Refusal | undefined {
  const where = `${path}.content`;
  switch (role) {
    case 'user': {
      const parts = readContent(content, where, readUserPart);
      if (isRefusal(parts)) return parts;
      collected.addUser(parts);
      return undefined;
    }
    case 'assistant': {
      const parts = readContent(content, where, readAssistantPart);
      if (isRefusal(parts)) return parts;
      collected.addAssistant(...parts.filter((part) => part.type !== 'text' || part.text !== ''));
      return undefined;
    }
    case 'system':
    case 'developer': {
      const parts = readContent(content, where, readTextPart);
      if (isRefusal(parts)) return parts;
      collected.addSystem(parts, path);
      return undefined;
    }
    default:
      return invalid(`${path}.role`, 'must be user, assistant, system or developer');
  }
}

function readAssistantPart(part: JsonObject, path: string): NeutralAssistantPart | Refusal {
  if (part.type !== 'refusal') return readTextPart(part, path);
  const { refusal: text } = part;
  return typeof text === 'string' ? { type: 'refusal', text } : invalid(`${path}.refusal`, 'must be a string');
}

function addCall(item: JsonObject, path: string, collected: Collected): Refusal | undefined {
  const { type, call_id: callId, name } = item;
  const isFunction = type === 'function_call';
  const written = isFunction ? item.arguments : item.input;
  if (typeof callId !== 'string') return invalid(`${path}.call_id`, 'must be a string');
  if (typeof name !== 'string') return invalid(`${path}.name`, 'must be a string');
  if (typeof written !== 'string') return invalid(`${path}.${isFunction ? 'arguments' : 'input'}`, 'must be a string');
  collected.addAssistant({
    type: 'tool_call',
    kind: isFunction ? 'function' : 'custom',
    callId,
    name: plainToolName(name, item.namespace),
    arguments: isFunction && written.trim() === '' ? '{}' : written,
    path,
  });
  return undefined;
}

function addCallOutput(
  { call_id: callId, output }: JsonObject,
  path: string,
  collected: Collected,
): Refusal | undefined {
  if (typeof callId !== 'string') return invalid(`${path}.call_id`, 'must be a string');
  const content = readContent(output, `${path}.output`, readOutputPart);
  if (isRefusal(content)) return content;
  collected.addResult({ type: 'tool_result', callId, content, path });
  return undefined;
}

/** The thoughts themselves where they are there, else their summary. Without either and without a proof: nothing. */
function reasoningOf(item: JsonObject, path: string): readonly NeutralReasoningPart[] {
  const { id, encrypted_content: encrypted } = item;
  const signature = typeof encrypted === 'string' && encrypted !== '' ? encrypted : undefined;
  const redacted = signature === undefined ? undefined : redactedDataIn(signature);
  const common = { type: 'reasoning', path, ...(typeof id === 'string' ? { id } : {}) } as const;
  if (redacted !== undefined) return [{ ...common, text: '', signature: redacted, isRedacted: true }];
  const text = textsIn(item.content) || textsIn(item.summary);
  if (text === '' && signature === undefined) return [];
  return [{ ...common, text, ...(signature === undefined ? {} : { signature }) }];
}

function textsIn(parts: unknown): string {
  if (!isArray(parts)) return '';
  return parts
    .map((part) => (isObject(part) && typeof part.text === 'string' ? part.text : ''))
    .filter((text) => text !== '')
    .join('\n\n');
}
