import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { NeutralTool } from './neutral-request';

/**
 * A custom tool (its input is text) for a provider that knows only functions: the text is its one argument. The client's
 * renderer, which knows from the request that the tool is custom, makes a custom call of the function's call again.
 */
export const CUSTOM_TOOL_PARAMETERS: JsonObject = {
  type: 'object',
  properties: { input: { type: 'string' } },
  required: ['input'],
  additionalProperties: false,
};

/** With its grammar, which a function has no other place for. */
export function customToolDescription({ description, format }: NeutralTool): string | undefined {
  const grammar = format?.type === 'grammar' ? grammarOf(format) : undefined;
  if (typeof grammar?.definition !== 'string') return description;
  const syntax = typeof grammar.syntax === 'string' ? `${grammar.syntax} ` : '';
  return `${description === undefined ? '' : `${description}\n\n`}The input must match this ${syntax}grammar:\n${grammar.definition}`;
}

/** Arguments of the function for the input of the tool. */
export function argumentsOfInput(input: string): string {
  return JSON.stringify({ input });
}

/** The input of the tool from arguments of the function; those of another shape are taken for it. */
export function inputOfArguments(args: string): string {
  try {
    const parsed: unknown = JSON.parse(args);
    return isObject(parsed) && typeof parsed.input === 'string' ? parsed.input : args;
  } catch {
    return args;
  }
}

/** Flat as in the Responses API, or nested as in chat. */
function grammarOf(format: JsonObject): JsonObject {
  return isObject(format.grammar) ? format.grammar : format;
}
