import { isObject, type JsonObject } from '../../../kernel/json-object';
import { type CollectedText, TextPieces } from '../collected-text';
import { isArray } from '../json-value';
import type { PromptText } from '../prompt-text';

/** OpenAI's format spends about this many tokens on the frame of each item, and as many to open the answer. */
const TOKENS_PER_ITEM_FRAME = 3;

/** Media are left out: they are priced by the piece. */
export function responsesPromptText(body: JsonObject): PromptText {
  const texts: string[] = [];
  const { instructions, input, tools, text } = body;
  addText(texts, instructions);
  addText(texts, input);
  const items = isArray(input) ? input : [];
  for (const item of items) {
    if (isObject(item)) addItem(texts, item);
  }
  if (isArray(tools) && tools.length > 0) texts.push(JSON.stringify(tools));
  if (isObject(text) && isObject(text.format)) texts.push(JSON.stringify(text.format));
  const frames = items.length + (typeof input === 'string' ? 1 : 0) + (typeof instructions === 'string' ? 1 : 0);
  return { texts, frameTokens: (frames + 1) * TOKENS_PER_ITEM_FRAME };
}

/** What the model wrote, of the items of a whole response. */
export function collectedFrom(output: readonly unknown[]): CollectedText {
  const pieces = new TextPieces();
  output.forEach((item, index) => {
    if (!isObject(item)) return;
    for (const [at, text] of textsIn(item.content).entries()) {
      if (item.type === 'reasoning') pieces.addReasoning(`${index} content ${at}`, text);
      else pieces.addOutput(`${index} content ${at}`, text);
    }
    for (const [at, text] of textsIn(item.summary).entries()) pieces.addReasoning(`${index} summary ${at}`, text);
    pieces.addOutput(`${index} name`, item.name);
    pieces.addOutput(`${index} input`, item.arguments ?? item.input ?? item.code);
  });
  return pieces.collected();
}

function addItem(texts: string[], item: JsonObject): void {
  addText(texts, item.role);
  addText(texts, item.name);
  for (const text of [item.content, item.output, item.arguments, item.input]) addText(texts, text);
  for (const parts of [item.content, item.output, item.summary]) texts.push(...textsIn(parts));
}

function textsIn(parts: unknown): string[] {
  if (!isArray(parts)) return [];
  return parts
    .map((part) => (isObject(part) ? (part.text ?? part.refusal) : undefined))
    .filter((text): text is string => typeof text === 'string' && text !== '');
}

function addText(texts: string[], value: unknown): void {
  if (typeof value === 'string' && value !== '') texts.push(value);
}
