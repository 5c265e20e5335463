import { isArray, isObject, type JsonObject } from './json-value';

/** What a model wrote, for the tokenizer: pieces that belong together are one text. */
export interface CollectedText {
  /** Content, refusals, names and arguments of tool calls. */
  readonly output: readonly string[];
  readonly reasoning: readonly string[];
}

export const NO_TEXT: CollectedText = { output: [], reasoning: [] };

/**
 * Gathers text from `message` objects of a whole answer or `delta` objects of a stream. Both have the same fields; the
 * pieces of one field of one choice are joined, so that a word cut by the stream is counted as one.
 */
export class TextCollector {
  private readonly output = new Map<string, string>();
  private readonly reasoning = new Map<string, string>();

  addChoices(choices: unknown, field: 'message' | 'delta'): void {
    if (!isArray(choices)) return;
    for (const choice of choices) {
      if (!isObject(choice)) continue;
      const written = choice[field];
      if (isObject(written)) this.add(typeof choice.index === 'number' ? choice.index : 0, written);
    }
  }

  collected(): CollectedText {
    return { output: [...this.output.values()], reasoning: [...this.reasoning.values()] };
  }

  private add(choice: number, written: JsonObject): void {
    append(this.output, `${choice}`, written.content);
    append(this.output, `${choice} refusal`, written.refusal);
    // One field under two names; a provider that sends both repeats itself.
    append(this.reasoning, `${choice}`, written.reasoning_content ?? written.reasoning);
    this.addFunction(`${choice} function`, written.function_call);
    const calls = written.tool_calls;
    if (!isArray(calls)) return;
    calls.forEach((call, position) => {
      if (!isObject(call)) return;
      const index = typeof call.index === 'number' ? call.index : position;
      this.addFunction(`${choice} tool ${index}`, call.function ?? call.custom);
    });
  }

  private addFunction(key: string, called: unknown): void {
    if (!isObject(called)) return;
    append(this.output, `${key} name`, called.name);
    append(this.output, key, called.arguments ?? called.input);
  }
}

function append(texts: Map<string, string>, key: string, piece: unknown): void {
  if (typeof piece === 'string' && piece !== '') texts.set(key, (texts.get(key) ?? '') + piece);
}
