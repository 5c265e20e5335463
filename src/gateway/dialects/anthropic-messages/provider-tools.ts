import { TEXT_BYTES_PER_TOKEN } from '../../../catalogue/price';
import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { invalid } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import { BYTES_OF_READING_TOOL } from '../unseen-text';

/** Tools that the provider runs itself and that bring text into the prompt; their types end in a version. */
const READING_TOOL = /^(?:web_search|web_fetch|code_execution)_/;
/** More than any context holds. */
const MAX_CONTENT_TOKENS = 1_000_000;

/** Only the shape, and that no other model answers: at the price of this one, and past the key's list of models. */
export function checkTools(tools: unknown): Refusal | undefined {
  if (isAbsent(tools)) return undefined;
  if (!isArray(tools)) return invalid('tools', 'must be an array');
  for (const [index, tool] of tools.entries()) {
    if (!isObject(tool)) return invalid(`tools[${index}]`, 'must be an object');
    if (typeof tool.type === 'string' && tool.type.startsWith('advisor_')) {
      return invalid(`tools[${index}]`, 'must not name a model that advises: ask for it by `model`');
    }
  }
  return undefined;
}

/** Text that nobody sent and that is read all the same, for the estimate. */
export function toolTextBytes({ tools, mcp_servers: servers }: JsonObject): number {
  const ofTools = isArray(tools) ? tools.reduce<number>((sum, tool) => sum + textBytesOf(tool), 0) : 0;
  return ofTools + (isArray(servers) ? servers.length * BYTES_OF_READING_TOOL : 0);
}

function textBytesOf(tool: unknown): number {
  if (!isObject(tool) || typeof tool.type !== 'string' || !READING_TOOL.test(tool.type)) return 0;
  const most = tool.max_content_tokens;
  if (typeof most !== 'number' || !Number.isSafeInteger(most) || most <= 0) return BYTES_OF_READING_TOOL;
  return Math.min(most, MAX_CONTENT_TOKENS) * TEXT_BYTES_PER_TOKEN;
}
