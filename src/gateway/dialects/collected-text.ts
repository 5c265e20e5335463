/** What a model wrote, for the tokenizer: pieces that belong together are one text. */
export interface CollectedText {
  /** Content, refusals, names and arguments of tool calls. */
  readonly output: readonly string[];
  readonly reasoning: readonly string[];
}

export const NO_TEXT: CollectedText = { output: [], reasoning: [] };

/** Joins the pieces of each text, so that a word cut by the stream is counted as one. */
export class TextPieces {
  private readonly output = new Map<string, string>();
  private readonly reasoning = new Map<string, string>();

  /** @param key names the text that the piece belongs to */
  addOutput(key: string, piece: unknown): void {
    append(this.output, key, piece);
  }

  addReasoning(key: string, piece: unknown): void {
    append(this.reasoning, key, piece);
  }

  collected(): CollectedText {
    return { output: [...this.output.values()], reasoning: [...this.reasoning.values()] };
  }
}

function append(texts: Map<string, string>, key: string, piece: unknown): void {
  if (typeof piece === 'string' && piece !== '') texts.set(key, (texts.get(key) ?? '') + piece);
}
