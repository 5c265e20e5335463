import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { FirstRefusal } from '../first-refusal';
import { CUSTOM_TOOL_PARAMETERS, customToolDescription } from '../neutral/custom-tool';
import { fieldOf, type NeutralRequest, type NeutralTool } from '../neutral/neutral-request';
import { cached } from './message-renderer';
import type { ModelTraits } from './model-traits';

export function renderTool(tool: NeutralTool, traits: ModelTraits, refusals: FirstRefusal): JsonObject {
  const description = tool.type === 'custom' ? customToolDescription(tool) : tool.description;
  return {
    name: tool.name,
    ...(description === undefined || description === '' ? {} : { description }),
    input_schema: tool.type === 'custom' ? CUSTOM_TOOL_PARAMETERS : inputSchemaOf(tool, refusals),
    ...(tool.strict === true && traits.holdsToSchemas ? { strict: true } : {}),
    ...cached(tool.cacheControl),
  };
}

/** Anthropic's tools take objects; a schema that does not say so, says nothing else either. */
function inputSchemaOf({ parameters, path }: NeutralTool, refusals: FirstRefusal): JsonObject {
  if (!parameters) return { type: 'object', properties: {} };
  if (parameters.type === 'object') return parameters;
  if (parameters.type !== undefined || !isObject(parameters.properties ?? {})) {
    refusals.note(`${path}.parameters`, 'must be a schema of type object for the provider of this model');
  }
  return { ...parameters, type: 'object' };
}

/** Undefined where nothing is to be said: without tools there is nothing to choose. */
export function renderToolChoice(request: NeutralRequest, refusals: FirstRefusal): JsonObject | undefined {
  const { toolChoice, parallelToolCalls, tools } = request;
  const isForced = toolChoice?.type === 'required' || toolChoice?.type === 'tool';
  if (tools.length === 0) {
    if (isForced) refusals.note(fieldOf(request, 'toolChoice'), 'asks for a tool, and there is none');
    return undefined;
  }
  const serial = parallelToolCalls === false ? { disable_parallel_tool_use: true } : {};
  switch (toolChoice?.type) {
    case 'none':
      return { type: 'none' };
    case 'required':
      return { type: 'any', ...serial };
    case 'tool':
      return { type: 'tool', name: toolChoice.name, ...serial };
    case 'auto':
      return { type: 'auto', ...serial };
    case undefined:
      return parallelToolCalls === false ? { type: 'auto', ...serial } : undefined;
  }
}
