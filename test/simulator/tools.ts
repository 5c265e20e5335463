import type { ToolCall } from './behaviour';

/** A tool that a request offers. */
export interface Tool {
  readonly name: string;
  /** Its input is any text, not JSON (OpenAI's custom tools). */
  readonly isCustom: boolean;
}

export interface CalledTool extends Required<ToolCall> {
  readonly isCustom: boolean;
}

/** The text in pieces of a few characters, as arguments are streamed. */
export function piecesOf(text: string, length = 5): string[] {
  return text.match(new RegExp(`[^]{1,${length}}`, 'gu')) ?? [];
}
