/** What a prompt says, for the tokenizer; only needed when a provider reports no usage. */
export interface PromptText {
  readonly texts: readonly string[];
  /** Tokens of the chat format itself, which no text shows. */
  readonly frameTokens: number;
}
