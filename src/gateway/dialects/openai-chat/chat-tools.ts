import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { invalid, isRefusal } from '../invalid-request';
import { isAbsent } from '../json-value';
import type { NeutralOutputFormat, NeutralTool, NeutralToolChoice } from '../neutral/neutral-request';
import { cacheControlOf, optionalText, readEach, requiredText, unknownField, untranslatable } from './chat-fields';

const TOOL_FIELDS: ReadonlySet<string> = new Set(['type', 'function', 'custom', 'cache_control']);
const FUNCTION_FIELDS: ReadonlySet<string> = new Set(['name', 'description', 'parameters', 'strict', 'cache_control']);
const CUSTOM_FIELDS: ReadonlySet<string> = new Set(['name', 'description', 'format']);
const SCHEMA_FIELDS: ReadonlySet<string> = new Set(['name', 'description', 'schema', 'strict']);

export interface ReadTools {
  readonly tools: readonly NeutralTool[];
  readonly toolChoice?: NeutralToolChoice;
}

/** A choice that allows some of the tools leaves the others out: the model cannot call what it does not know. */
export function readTools(body: JsonObject): ReadTools | Refusal {
  const tools = readEach(body.tools, 'tools', readTool);
  if (isRefusal(tools)) return tools;
  const choice = body.tool_choice;
  if (isAbsent(choice)) return { tools };
  if (isObject(choice) && choice.type === 'allowed_tools') return readAllowedTools(choice, tools);
  const toolChoice = readChoice(choice);
  return isRefusal(toolChoice) ? toolChoice : { tools, toolChoice };
}

/** Undefined for plain text, which is what there is without a format. */
export function readOutputFormat(format: unknown): NeutralOutputFormat | Refusal | undefined {
  if (isAbsent(format)) return undefined;
  if (!isObject(format)) return invalid('response_format', 'must be an object');
  switch (format.type) {
    case 'text':
      return undefined;
    case 'json_object':
      return { type: 'json_object' };
    case 'json_schema':
      return readJsonSchema(format.json_schema);
    default:
      return untranslatable('response_format.type');
  }
}

function readJsonSchema(described: unknown): NeutralOutputFormat | Refusal {
  const path = 'response_format.json_schema';
  if (!isObject(described)) return invalid(path, 'must be an object');
  const refusal = unknownField(described, SCHEMA_FIELDS, path);
  if (refusal) return refusal;
  const schema = described.schema ?? {};
  if (!isObject(schema)) return invalid(`${path}.schema`, 'must be an object');
  return {
    type: 'json_schema',
    schema,
    ...optionalText(described, 'name', 'name'),
    ...optionalText(described, 'description', 'description'),
    ...strictOf(described),
  };
}

function readTool(tool: JsonObject, path: string): NeutralTool | Refusal {
  const refusal = unknownField(tool, TOOL_FIELDS, path);
  if (tool.type === 'function') return refusal ?? readFunction(tool, `${path}.function`, path);
  if (tool.type === 'custom') return refusal ?? readCustom(tool, `${path}.custom`, path);
  return untranslatable(path);
}

function readFunction(tool: JsonObject, place: string, path: string): NeutralTool | Refusal {
  const described = tool.function;
  if (!isObject(described)) return invalid(place, 'must be an object');
  const refusal = unknownField(described, FUNCTION_FIELDS, place);
  const name = refusal ?? requiredText(described, 'name', place);
  if (typeof name !== 'string') return name;
  const { parameters } = described;
  if (!isAbsent(parameters) && !isObject(parameters)) return invalid(`${place}.parameters`, 'must be an object');
  return {
    type: 'function',
    path,
    name,
    ...optionalText(described, 'description', 'description'),
    ...(isObject(parameters) ? { parameters } : {}),
    ...strictOf(described),
    ...cacheControlOf(described),
    ...cacheControlOf(tool),
  };
}

function readCustom(tool: JsonObject, place: string, path: string): NeutralTool | Refusal {
  const described = tool.custom;
  if (!isObject(described)) return invalid(place, 'must be an object');
  const refusal = unknownField(described, CUSTOM_FIELDS, place);
  const name = refusal ?? requiredText(described, 'name', place);
  if (typeof name !== 'string') return name;
  const description = optionalText(described, 'description', 'description');
  return { type: 'custom', path, name, ...description, ...formatOf(described.format), ...cacheControlOf(tool) };
}

/** Chat nests a grammar, the Responses API does not. */
function formatOf(format: unknown): { readonly format?: JsonObject } {
  if (!isObject(format)) return {};
  const { grammar, ...flat } = format;
  return { format: isObject(grammar) ? { ...flat, ...grammar } : flat };
}

function readChoice(choice: unknown): NeutralToolChoice | Refusal {
  if (choice === 'auto' || choice === 'none' || choice === 'required') return { type: choice };
  if (!isObject(choice)) return invalid('tool_choice', 'must be auto, none, required or name a tool');
  const kind = choice.type === 'custom' ? 'custom' : 'function';
  if (choice.type !== kind) return untranslatable('tool_choice.type');
  const named = choice[kind];
  if (!isObject(named)) return invalid(`tool_choice.${kind}`, 'must be an object');
  const name = requiredText(named, 'name', `tool_choice.${kind}`);
  return typeof name === 'string' ? { type: 'tool', name } : name;
}

function readAllowedTools({ allowed_tools: allowed }: JsonObject, tools: readonly NeutralTool[]): ReadTools | Refusal {
  const path = 'tool_choice.allowed_tools';
  if (!isObject(allowed)) return invalid(path, 'must be an object');
  const { mode } = allowed;
  if (mode !== 'auto' && mode !== 'required') return invalid(`${path}.mode`, 'must be auto or required');
  const named = readEach(allowed.tools, `${path}.tools`, (tool, place) => {
    const described = isObject(tool.custom) ? tool.custom : isObject(tool.function) ? tool.function : tool;
    const name = requiredText(described, 'name', place);
    return typeof name === 'string' ? { name } : name;
  });
  if (isRefusal(named)) return named;
  const names = new Set(named.map(({ name }) => name));
  return { tools: tools.filter(({ name }) => names.has(name)), toolChoice: { type: mode } };
}

function strictOf({ strict }: JsonObject): { readonly strict?: boolean } {
  return typeof strict === 'boolean' ? { strict } : {};
}
