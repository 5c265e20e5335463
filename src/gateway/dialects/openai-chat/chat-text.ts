import { type CollectedText, TextPieces } from '../collected-text';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isArray } from '../json-value';

/**
 * Gathers text from `message` objects of a whole answer or `delta` objects of a stream. Both have the same fields.
 */
export class ChatText {
  private readonly pieces = new TextPieces();

  addChoices(choices: unknown, field: 'message' | 'delta'): void {
    if (!isArray(choices)) return;
    for (const choice of choices) {
      if (!isObject(choice)) continue;
      const written = choice[field];
      if (isObject(written)) this.addWritten(typeof choice.index === 'number' ? choice.index : 0, written);
    }
  }

  collected(): CollectedText {
    return this.pieces.collected();
  }

  private addWritten(choice: number, written: JsonObject): void {
    this.pieces.addOutput(`${choice}`, written.content);
    this.pieces.addOutput(`${choice} refusal`, written.refusal);
    // One field under two names; a provider that sends both repeats itself.
    this.pieces.addReasoning(`${choice}`, written.reasoning_content ?? written.reasoning);
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
    this.pieces.addOutput(`${key} name`, called.name);
    this.pieces.addOutput(key, called.arguments ?? called.input);
  }
}
