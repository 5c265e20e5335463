import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { invalid, isRefusal } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import type { NeutralTool, NeutralToolChoice } from '../neutral/neutral-request';
import { plainToolName } from './declared-tools';

export interface RequestedTools {
  readonly tools: readonly NeutralTool[];
  readonly toolChoice?: NeutralToolChoice;
}

const FUNCTION_FIELDS = ['type', 'name', 'description', 'parameters', 'strict'];
const CUSTOM_FIELDS = ['type', 'name', 'description', 'format'];
/** Hints about when a provider loads a tool. */
const HINTS = ['defer_loading'];

/** Tools that the client runs, and which of them the model is to call. */
export function readTools({ tools, tool_choice: choice }: JsonObject): RequestedTools | Refusal {
  const known = isAbsent(tools) ? [] : readToolList(tools, 'tools', undefined);
  if (isRefusal(known)) return known;
  if (isAbsent(choice)) return { tools: known };
  if (choice === 'auto' || choice === 'none' || choice === 'required') {
    return { tools: known, toolChoice: { type: choice } };
  }
  if (!isObject(choice)) return invalid('tool_choice', 'must be auto, none, required or an object');
  switch (choice.type) {
    case 'function':
    case 'custom':
      if (typeof choice.name !== 'string') return invalid('tool_choice.name', 'must be a string');
      return { tools: known, toolChoice: { type: 'tool', name: plainToolName(choice.name, choice.namespace) } };
    case 'allowed_tools':
      return onlyAllowed(known, choice);
    default:
      return invalid('tool_choice.type', 'is not supported for this model: its provider runs no tools itself');
  }
}

function readToolList(tools: unknown, path: string, namespace: string | undefined): NeutralTool[] | Refusal {
  if (!isArray(tools)) return invalid(path, 'must be an array');
  const known: NeutralTool[] = [];
  for (const [index, tool] of tools.entries()) {
    const where = `${path}[${index}]`;
    if (!isObject(tool)) return invalid(where, 'must be an object');
    const read = readTool(tool, where, namespace);
    if (isRefusal(read)) return read;
    known.push(...read);
  }
  return known;
}

function readTool(tool: JsonObject, path: string, namespace: string | undefined): readonly NeutralTool[] | Refusal {
  switch (tool.type) {
    case 'function':
      return readFunction(tool, path, namespace);
    case 'custom':
      return readCustom(tool, path, namespace);
    case 'namespace':
      return namespace === undefined ? readNamespace(tool, path) : invalid(path, 'must not be a namespace in another');
    case 'web_search':
    case 'web_search_preview':
      // Codex CLI offers the provider's stored pages whatever the provider: an offer that nobody takes up changes nothing.
      if (tool.external_web_access === false) return [];
  }
  return invalid(path, `is not supported for this model: its provider does not run ${String(tool.type)} itself`);
}

function readFunction(tool: JsonObject, path: string, namespace: string | undefined): NeutralTool[] | Refusal {
  const { name, description, parameters, strict } = tool;
  const refusal = checkFields(tool, path, FUNCTION_FIELDS);
  if (refusal) return refusal;
  if (typeof name !== 'string' || name === '') return invalid(`${path}.name`, 'must be a non-empty string');
  if (!isAbsent(parameters) && !isObject(parameters)) return invalid(`${path}.parameters`, 'must be an object');
  if (!isAbsent(strict) && typeof strict !== 'boolean') return invalid(`${path}.strict`, 'must be a boolean');
  return [
    {
      type: 'function',
      name: plainToolName(name, namespace),
      path,
      ...(typeof description === 'string' ? { description } : {}),
      ...(isObject(parameters) ? { parameters } : {}),
      ...(typeof strict === 'boolean' ? { strict } : {}),
    },
  ];
}

function readCustom(tool: JsonObject, path: string, namespace: string | undefined): NeutralTool[] | Refusal {
  const { name, description, format } = tool;
  const refusal = checkFields(tool, path, CUSTOM_FIELDS);
  if (refusal) return refusal;
  if (typeof name !== 'string' || name === '') return invalid(`${path}.name`, 'must be a non-empty string');
  if (!isAbsent(format) && !isObject(format)) return invalid(`${path}.format`, 'must be an object');
  return [
    {
      type: 'custom',
      name: plainToolName(name, namespace),
      path,
      ...(typeof description === 'string' ? { description } : {}),
      ...(isObject(format) ? { format } : {}),
    },
  ];
}

/** What a namespace says of its tools is said of the first: other dialects know none. */
function readNamespace(tool: JsonObject, path: string): readonly NeutralTool[] | Refusal {
  const { name, description, tools } = tool;
  const refusal = checkFields(tool, path, ['type', 'name', 'description', 'tools']);
  if (refusal) return refusal;
  if (typeof name !== 'string' || name === '') return invalid(`${path}.name`, 'must be a non-empty string');
  const known = readToolList(tools, `${path}.tools`, name);
  if (isRefusal(known) || typeof description !== 'string' || description === '') return known;
  return known.map((inner, index) => {
    if (index > 0) return inner;
    const own = inner.description === undefined ? '' : `\n\n${inner.description}`;
    return { ...inner, description: description + own };
  });
}

/** A list of those that may be called saves the prompt's cache where there is one; here the others are left out. */
function onlyAllowed(tools: readonly NeutralTool[], { mode, tools: allowed }: JsonObject): RequestedTools | Refusal {
  if (mode !== 'auto' && mode !== 'required') return invalid('tool_choice.mode', 'must be auto or required');
  if (!isArray(allowed)) return invalid('tool_choice.tools', 'must be an array');
  const names = new Set<string>();
  for (const [index, tool] of allowed.entries()) {
    const path = `tool_choice.tools[${index}]`;
    if (!isObject(tool) || typeof tool.name !== 'string') return invalid(path, 'must name a function or a custom tool');
    const name = plainToolName(tool.name, tool.namespace);
    if (!tools.some((known) => known.name === name)) return invalid(path, 'is none of the tools');
    names.add(name);
  }
  return { tools: tools.filter(({ name }) => names.has(name)), toolChoice: { type: mode } };
}

function checkFields(tool: JsonObject, path: string, known: readonly string[]): Refusal | undefined {
  for (const [field, value] of Object.entries(tool)) {
    if (isAbsent(value) || known.includes(field) || HINTS.includes(field)) continue;
    if (field === 'allowed_callers' && isArray(value) && value.includes('direct')) continue;
    return invalid(`${path}.${field}`, 'is not supported for this model: only OpenAI’s own know it');
  }
  return undefined;
}
