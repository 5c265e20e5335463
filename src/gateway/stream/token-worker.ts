/**
 * Runs in a worker thread: loading the vocabulary blocks for 100 ms and holds 60 MB, which the thread that moves streams
 * cannot afford. Imports nothing of ours, so that Node can run this file as TypeScript too (in tests).
 */
import { countTokens, setMergeCacheSize } from 'gpt-tokenizer/encoding/o200k_base';

/** The tokenizer is quadratic in the length of a word: 64 KB without a space take seconds. Pieces bound that. */
const MAX_PIECE_LENGTH = 512;

/** What the model wrote is text, also where it spells a control token. */
const AS_TEXT = { allowedSpecial: new Set<string>(), disallowedSpecial: new Set<string>() };

setMergeCacheSize(10_000);

/** Tokens of each group of texts. */
export default function countGroups(groups: readonly (readonly string[])[]): readonly number[] {
  return groups.map((texts) => texts.reduce((sum, text) => sum + countText(text), 0));
}

function countText(text: string): number {
  let tokens = 0;
  let start = 0;
  while (start < text.length) {
    const end = endOfPiece(text, start);
    tokens += countTokens(text.slice(start, end), AS_TEXT);
    start = end;
  }
  return tokens;
}

/** Before the last space of the window, where the tokenizer would cut anyhow; never inside a surrogate pair. */
function endOfPiece(text: string, start: number): number {
  const end = start + MAX_PIECE_LENGTH;
  if (end >= text.length) return text.length;
  const space = text.lastIndexOf(' ', end);
  if (space > start) return space;
  const last = text.charCodeAt(end - 1);
  return last >= 0xd800 && last <= 0xdbff ? end - 1 : end;
}
