import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isArray } from '../json-value';

/** How the encrypted thoughts of OpenAI's models begin: no signature of Anthropic does. */
const OF_OPENAI = 'gAAAA';

/** Whether a thought with this proof is of another provider, which Anthropic refuses; '' is no proof at all. */
export function isForeignSignature(signature: unknown): boolean {
  return (
    signature === undefined || signature === '' || (typeof signature === 'string' && signature.startsWith(OF_OPENAI))
  );
}

/**
 * Members to replace where a conversation that was begun over another provider goes on over Anthropic: its thoughts left
 * out, which would be refused. Without them calls that are under way have none, and a model that thinks by a budget may not
 * think about their results. Undefined where there are none: the bytes stay as they are.
 */
export function withoutForeignThoughts(
  body: JsonObject,
): { messages: readonly unknown[]; mayThink: boolean } | undefined {
  const messages = isArray(body.messages) ? body.messages : [];
  if (!messages.some(hasForeignThoughts)) return undefined;
  const kept = messages.flatMap((message) => {
    if (!hasForeignThoughts(message) || !isObject(message) || !isArray(message.content)) return [message];
    const content = message.content.filter((block) => !isForeignThought(block));
    return content.length > 0 ? [{ ...message, content }] : [];
  });
  const last = kept.findLast((message) => isObject(message) && message.role === 'assistant');
  return { messages: kept, mayThink: !hasThoughtlessCalls(isObject(last) ? last.content : undefined) };
}

/** Tool calls that were made without a thought that the provider can check, before them. */
export function hasThoughtlessCalls(content: unknown): boolean {
  if (!isArray(content)) return false;
  const [first] = content;
  const isThought = isObject(first) && (first.type === 'thinking' || first.type === 'redacted_thinking');
  return !isThought && content.some((block) => isObject(block) && block.type === 'tool_use');
}

function hasForeignThoughts(message: unknown): boolean {
  if (!isObject(message) || message.role !== 'assistant') return false;
  return isArray(message.content) && message.content.some(isForeignThought);
}

function isForeignThought(block: unknown): boolean {
  if (!isObject(block)) return false;
  if (block.type === 'thinking') return isForeignSignature(block.signature);
  return block.type === 'redacted_thinking' && isForeignSignature(block.data);
}
