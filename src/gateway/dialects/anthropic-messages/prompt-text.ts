import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isArray } from '../json-value';
import type { PromptText } from '../prompt-text';

/** The format spends about this many tokens on the frame of each message, and as many to open the answer. */
const TOKENS_PER_MESSAGE_FRAME = 3;

/** Media are left out: they are priced by the piece. */
export function messagesPromptText(body: JsonObject): PromptText {
  const texts: string[] = [];
  addContent(texts, body.system);
  const messages = isArray(body.messages) ? body.messages : [];
  for (const message of messages) {
    if (!isObject(message)) continue;
    addText(texts, message.role);
    addContent(texts, message.content);
  }
  if (isArray(body.tools) && body.tools.length > 0) texts.push(JSON.stringify(body.tools));
  if (isObject(body.output_config)) texts.push(JSON.stringify(body.output_config));
  return { texts, frameTokens: (messages.length + 1) * TOKENS_PER_MESSAGE_FRAME };
}

function addContent(texts: string[], content: unknown): void {
  addText(texts, content);
  if (!isArray(content)) return;
  for (const block of content) {
    if (isObject(block)) addBlock(texts, block);
  }
}

function addBlock(texts: string[], block: JsonObject): void {
  switch (block.type) {
    case 'text':
      addText(texts, block.text);
      return;
    case 'thinking':
      addText(texts, block.thinking);
      return;
    case 'tool_use':
    case 'server_tool_use':
    case 'mcp_tool_use':
      addText(texts, block.name);
      if (block.input !== undefined) texts.push(JSON.stringify(block.input));
      return;
    case 'document':
      addText(texts, block.title);
      addText(texts, block.context);
      addDocument(texts, block.source);
      return;
    default:
      // Results of tools, of the client and of the provider, and quoted search results.
      addContent(texts, block.content);
  }
}

function addDocument(texts: string[], source: unknown): void {
  if (!isObject(source)) return;
  if (source.type === 'text') addText(texts, source.data);
  if (source.type === 'content') addContent(texts, source.content);
}

function addText(texts: string[], value: unknown): void {
  if (typeof value === 'string' && value !== '') texts.push(value);
}
