import { type Refusal } from '../../../kernel/errors';
import { invalid, isRefusal } from '../invalid-request';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isAbsent, isArray } from '../json-value';

/** How to turn a body with `input` into one with `messages` (see rebuildMembers). */
export interface BodyChanges {
  readonly without: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
}

/** Fields that only the Responses API knows, and `input` itself; those that have a chat form are rendered below. */
const RESPONSES_ONLY = [
  'input',
  'instructions',
  'max_output_tokens',
  'reasoning',
  'text',
  'include',
  'truncation',
  'background',
  'messages',
];

/**
 * Cursor posts Responses-style bodies to the chat route: `input` is a string or an array of items, tools are flat. They
 * are understood as the chat request they mean; fields of both APIs stay as they are.
 */
export function messagesFromInput(body: JsonObject): BodyChanges | Refusal {
  if (!isAbsent(body.previous_response_id)) {
    return invalid('previous_response_id', 'is not supported on this route');
  }
  const messages = readInput(body.input);
  if (isRefusal(messages)) return messages;
  const instructions = body.instructions;
  if (typeof instructions === 'string' && instructions !== '') {
    messages.unshift({ role: 'system', content: instructions });
  }
  const values = new Map<string, string>([['messages', JSON.stringify(messages)]]);
  renderOptions(body, values);
  return { without: new Set(RESPONSES_ONLY), values };
}

type Message = Record<string, unknown>;

function readInput(input: unknown): Message[] | Refusal {
  if (typeof input === 'string') return [{ role: 'user', content: input }];
  if (!isArray(input)) return invalid('input', 'must be a string or an array');
  if (input.length === 0) return invalid('input', 'must not be empty');
  const messages: Message[] = [];
  for (let index = 0; index < input.length; index++) {
    const refusal = appendItem(input[index], `input[${index}]`, messages);
    if (refusal) return refusal;
  }
  return messages;
}

function appendItem(item: unknown, path: string, messages: Message[]): Refusal | undefined {
  if (!isObject(item)) return invalid(path, 'must be an object');
  switch (item.type) {
    case undefined:
    case null:
    case 'message':
      return appendMessage(item, path, messages);
    case 'function_call':
    case 'custom_tool_call':
      appendToolCall(item, messages);
      return undefined;
    case 'function_call_output':
    case 'custom_tool_call_output':
      messages.push({ role: 'tool', tool_call_id: item.call_id, content: resultContent(item.output) });
      return undefined;
    case 'reasoning':
      return undefined;
    default:
      return invalid(`${path}.type`, 'is not supported on this route');
  }
}

function appendMessage(item: JsonObject, path: string, messages: Message[]): Refusal | undefined {
  if (typeof item.role !== 'string') return invalid(`${path}.role`, 'must be a string');
  const content = item.content;
  if (typeof content === 'string' || isAbsent(content)) {
    messages.push({ role: item.role, content: content ?? null });
    return undefined;
  }
  if (!isArray(content)) return invalid(`${path}.content`, 'must be a string or an array of parts');
  const odd = content.findIndex((part) => !isObject(part));
  if (odd >= 0) return invalid(`${path}.content[${odd}]`, 'must be an object');
  messages.push({ role: item.role, content: content.filter(isObject).map(chatPart) });
  return undefined;
}

/** Calls of one turn are one assistant message in a chat. */
function appendToolCall(item: JsonObject, messages: Message[]): void {
  const { call_id: id, name } = item;
  const call =
    item.type === 'custom_tool_call'
      ? { id, type: 'custom', custom: { name, input: item.input } }
      : { id, type: 'function', function: { name, arguments: item.arguments } };
  const last = messages.at(-1);
  if (last?.role !== 'assistant') messages.push({ role: 'assistant', content: null, tool_calls: [call] });
  else last.tool_calls = [...(isArray(last.tool_calls) ? last.tool_calls : []), call];
}

function chatPart(part: JsonObject): JsonObject {
  switch (part.type) {
    case 'input_text':
    case 'output_text':
      return { type: 'text', text: part.text };
    case 'input_image': {
      const detail = part.detail;
      return { type: 'image_url', image_url: { url: part.image_url, ...(isAbsent(detail) ? {} : { detail }) } };
    }
    case 'input_file': {
      const { file_id, file_data, filename } = part;
      return { type: 'file', file: { file_id, file_data, filename } };
    }
    default:
      return part;
  }
}

/** A tool's output is a string or a list of parts; those of text are one string, which is all that many providers take. */
function resultContent(output: unknown): unknown {
  if (typeof output === 'string') return output;
  if (!isArray(output)) return JSON.stringify(output ?? '');
  const texts = output.filter((part) => isObject(part) && typeof part.text === 'string');
  if (texts.length < output.length) return output.map((part) => (isObject(part) ? chatPart(part) : part));
  return texts.map((part) => (part as JsonObject).text).join('');
}

function renderOptions(body: JsonObject, values: Map<string, string>): void {
  const { max_output_tokens: maxOutputTokens, reasoning, text, tools, tool_choice: toolChoice } = body;
  if (!isAbsent(maxOutputTokens)) values.set('max_completion_tokens', JSON.stringify(maxOutputTokens));
  if (isObject(reasoning) && !isAbsent(reasoning.effort)) {
    values.set('reasoning_effort', JSON.stringify(reasoning.effort));
  }
  if (isObject(text)) {
    if (!isAbsent(text.verbosity)) values.set('verbosity', JSON.stringify(text.verbosity));
    const format = text.format;
    if (isObject(format)) values.set('response_format', JSON.stringify(responseFormat(format)));
  }
  if (isArray(tools)) values.set('tools', JSON.stringify(tools.map(chatTool)));
  if (isObject(toolChoice) && isFlatTool(toolChoice)) {
    values.set('tool_choice', JSON.stringify({ type: toolChoice.type, [toolChoice.type]: { name: toolChoice.name } }));
  }
}

function responseFormat(format: JsonObject): JsonObject {
  if (format.type !== 'json_schema' || isObject(format.json_schema)) return format;
  const { type, ...schema } = format;
  return { type, json_schema: schema };
}

function chatTool(tool: unknown): unknown {
  if (!isObject(tool) || !isFlatTool(tool)) return tool;
  const { type, ...definition } = tool;
  return { type, [type]: type === 'custom' ? { ...definition, ...chatGrammar(definition) } : definition };
}

/** Chat nests what a tool is, and a grammar, where the Responses API does not. */
function isFlatTool(tool: JsonObject): tool is JsonObject & { readonly type: 'function' | 'custom' } {
  return (tool.type === 'function' || tool.type === 'custom') && !isObject(tool[tool.type]);
}

function chatGrammar({ format }: JsonObject): JsonObject {
  if (!isObject(format) || format.type !== 'grammar' || isObject(format.grammar)) return {};
  const { type, ...grammar } = format;
  return { format: { type, grammar } };
}
