import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isArray } from '../json-value';
import type { PromptText } from '../prompt-text';

/** OpenAI's chat format spends about this many tokens on the frame of each message, and as many to open the answer. */
const TOKENS_PER_MESSAGE_FRAME = 3;

/** Media are left out: they are priced by the piece. */
export function promptText(body: JsonObject): PromptText {
  const texts: string[] = [];
  const messages = isArray(body.messages) ? body.messages : [];
  for (const message of messages) {
    if (!isObject(message)) continue;
    addText(texts, message.role);
    addText(texts, message.name);
    addContent(texts, message.content);
    addText(texts, message.reasoning_content);
    addJson(texts, message.tool_calls);
  }
  addJson(texts, body.tools);
  addJson(texts, body.functions);
  addJson(texts, body.response_format);
  return { texts, frameTokens: (messages.length + 1) * TOKENS_PER_MESSAGE_FRAME };
}

function addContent(texts: string[], content: unknown): void {
  addText(texts, content);
  if (!isArray(content)) return;
  for (const part of content) {
    if (isObject(part)) addText(texts, part.text ?? part.refusal);
  }
}

function addText(texts: string[], value: unknown): void {
  if (typeof value === 'string' && value !== '') texts.push(value);
}

function addJson(texts: string[], value: unknown): void {
  if (isArray(value) ? value.length > 0 : isObject(value)) texts.push(JSON.stringify(value));
}
