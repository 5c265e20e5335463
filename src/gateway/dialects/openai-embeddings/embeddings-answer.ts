import { NO_TEXT } from '../collected-text';
import { errorOf } from '../openai-chat/chat-completion';
import { memberOf, scanTopLevel, type TopLevel } from '../top-level-scan';
import type { WholeAnswer } from '../whole-answer';
import { usageFromEmbeddings } from './usage';

/**
 * Undefined when the body is not a JSON object, or has neither data nor a usage. Only what money asks for is parsed: vectors
 * are megabytes, and no output; nothing is counted but the prompt.
 */
export function readEmbeddings(body: Buffer): WholeAnswer | undefined {
  const layout = scanTopLevel(body);
  if (typeof layout === 'string') return undefined;
  const answer = { isUsageFinal: true, chunks: 0, text: () => NO_TEXT } as const;
  try {
    const [object, error, usage] = ['object', 'error', 'usage'].map((name) => valueOf(body, layout, name));
    const errorEvent = errorOf({ object, error });
    if (errorEvent !== undefined) return { ...answer, errorEvent };
    const tokens = usageFromEmbeddings(usage);
    if (!tokens && !memberOf(layout, 'data')) return undefined;
    return { ...answer, ...(tokens ? { usage: tokens } : {}) };
  } catch {
    return undefined;
  }
}

function valueOf(body: Buffer, layout: TopLevel, name: string): unknown {
  const member = memberOf(layout, name);
  return member && JSON.parse(body.toString('utf8', member.valueStart, member.valueEnd));
}
