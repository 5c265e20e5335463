import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { FirstRefusal } from '../first-refusal';
import { isAbsent, isArray } from '../json-value';
import type { NeutralRequest, NeutralTool } from '../neutral/neutral-request';
import { cached } from './content-reader';

/** When it is loaded and how it is streamed are hints; who may call it matters only to tools that the provider runs. */
const TOOL_FIELDS = new Set([
  'type',
  'name',
  'description',
  'input_schema',
  'strict',
  'cache_control',
  'input_examples',
  'defer_loading',
  'eager_input_streaming',
  'allowed_callers',
]);
const CHOICE_FIELDS = new Set(['type', 'name', 'disable_parallel_tool_use']);

/** Tools of the client, by a schema. Those that the provider runs, or that only its models were taught, have no other name. */
export function readTools(tools: unknown, refusals: FirstRefusal): readonly NeutralTool[] {
  const list = isArray(tools) ? tools.filter(isObject) : [];
  return list.flatMap((tool, index) => {
    const path = `tools[${index}]`;
    if (!isAbsent(tool.type) && tool.type !== 'custom') {
      refusals.note(path, 'is a tool of Anthropic that the provider of this model does not have');
      return [];
    }
    refusals.unknownFields(tool, path, TOOL_FIELDS);
    if (typeof tool.name !== 'string') refusals.note(`${path}.name`, 'must be a string');
    const description = describe(tool);
    return [
      {
        type: 'function' as const,
        name: String(tool.name),
        ...(description === '' ? {} : { description }),
        ...(isObject(tool.input_schema) ? { parameters: tool.input_schema } : {}),
        ...(typeof tool.strict === 'boolean' ? { strict: tool.strict } : {}),
        ...cached(tool),
        path,
      },
    ];
  });
}

/** Examples have no field of their own elsewhere: they are part of what the model reads about the tool. */
function describe({ description, input_examples: examples }: JsonObject): string {
  const lines = [typeof description === 'string' ? description : ''];
  if (isArray(examples) && examples.length > 0) {
    lines.push(`Examples of input:\n${examples.map((example) => JSON.stringify(example)).join('\n')}`);
  }
  return lines.filter(Boolean).join('\n\n');
}

export function readToolChoice(
  choice: unknown,
  refusals: FirstRefusal,
): Pick<NeutralRequest, 'toolChoice' | 'parallelToolCalls'> {
  if (!isObject(choice)) return {};
  refusals.unknownFields(choice, 'tool_choice', CHOICE_FIELDS);
  const { disable_parallel_tool_use: isSerial } = choice;
  const parallel = typeof isSerial === 'boolean' ? { parallelToolCalls: !isSerial } : {};
  switch (choice.type) {
    case 'auto':
      return { toolChoice: { type: 'auto' }, ...parallel };
    case 'any':
      return { toolChoice: { type: 'required' }, ...parallel };
    case 'none':
      return { toolChoice: { type: 'none' } };
    case 'tool':
      if (typeof choice.name === 'string') return { toolChoice: { type: 'tool', name: choice.name }, ...parallel };
      refusals.note('tool_choice.name', 'must be a string');
      return {};
    default:
      refusals.note('tool_choice.type', 'must be auto, any, tool or none');
      return {};
  }
}
