import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { TextPieces } from '../collected-text';

/** Of the client or of the provider: the model wrote its name and input. */
export function isToolCall(block: JsonObject): boolean {
  return block.type === 'tool_use' || block.type === 'server_tool_use' || block.type === 'mcp_tool_use';
}

/** What a model wrote in a block, whole or as it opens in a stream: what a stream tells in deltas is empty there. */
export function addBlockText(pieces: TextPieces, key: string, block: JsonObject): void {
  pieces.addOutput(key, block.text);
  pieces.addReasoning(key, block.thinking);
  if (!isToolCall(block)) return;
  pieces.addOutput(`${key} name`, block.name);
  if (isObject(block.input) && Object.keys(block.input).length > 0) pieces.addOutput(key, JSON.stringify(block.input));
}
