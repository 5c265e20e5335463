/**
 * Runs in a worker thread: loading the vocabulary blocks for 100 ms and holds 60 MB, which the thread that moves streams
 * cannot afford. Imports nothing of ours, so that Node can run this file as TypeScript too (in tests).
 */
import { parentPort } from 'node:worker_threads';

import { countTokens, setMergeCacheSize } from 'gpt-tokenizer/encoding/o200k_base';

/** The tokenizer is quadratic in the length of a word: 64 KB without a space take seconds. Pieces bound that. */
const MAX_PIECE_LENGTH = 512;

/** What the model wrote is text, also where it spells a control token. */
const AS_TEXT = { allowedSpecial: new Set<string>(), disallowedSpecial: new Set<string>() };

setMergeCacheSize(10_000);

/** One number for each group of texts. */
interface Job {
  readonly id: number;
  readonly groups: readonly (readonly string[])[];
}

parentPort?.on('message', ({ id, groups }: Job) => {
  parentPort?.postMessage({ id, counts: groups.map((texts) => texts.reduce((sum, text) => sum + countText(text), 0)) });
});

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
