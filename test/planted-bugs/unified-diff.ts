/** A place in a file: what stands there, and what shall stand there instead; lines without their ends. */
export interface Hunk {
  /** Where it stood when the diff was made, from 1. */
  readonly line: number;
  readonly before: readonly string[];
  readonly after: readonly string[];
}

export interface FileDiff {
  /** From the project's folder. */
  readonly path: string;
  readonly hunks: readonly Hunk[];
}

export interface UnifiedDiff {
  /** The free text above the first file. */
  readonly head: string;
  readonly files: readonly FileDiff[];
}

const FILE = /^--- a\/(\S+)$/;
const HUNK = /^@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@/;
/** What git writes above a file. */
const GIT_LINE = /^(?:diff --git|index) /;

/** Reads a diff that changes files in place, and nothing else (no file is made, deleted or renamed); throws otherwise. */
export function parseUnifiedDiff(text: string): UnifiedDiff {
  const lines = text.split('\n');
  const first = lines.findIndex((line) => GIT_LINE.test(line) || FILE.test(line));
  if (first === -1) throw new Error('the diff changes no file');
  const files: { path: string; hunks: Hunk[] }[] = [];
  for (let at = first; at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    const [, path] = FILE.exec(line) ?? [];
    const file = files.at(-1);
    if (path !== undefined) {
      at += 1;
      if (lines[at] !== `+++ b/${path}`) throw new Error(`${path} is not changed in place`);
      files.push({ path, hunks: [] });
    } else if (file && HUNK.test(line)) {
      const { hunk, end } = readHunk(lines, at);
      file.hunks.push(hunk);
      at = end - 1;
    } else if (line !== '' && !GIT_LINE.test(line)) throw new Error(`line ${at + 1} is no part of a diff: ${line}`);
  }
  const empty = files.find(({ hunks }) => hunks.length === 0);
  if (files.length === 0 || empty) throw new Error(`nothing of ${empty?.path ?? 'any file'} is changed`);
  return { head: lines.slice(0, first).join('\n'), files };
}

/** @returns the hunk whose header is line `at`, and the line after its last one */
function readHunk(lines: readonly string[], at: number): { hunk: Hunk; end: number } {
  const [, line = '', oldCount = '1', newCount = '1'] = HUNK.exec(lines[at] ?? '') ?? [];
  const [before, after]: [string[], string[]] = [[], []];
  let end = at + 1;
  for (; before.length < Number(oldCount) || after.length < Number(newCount); end += 1) {
    const text = lines[end] ?? '';
    const [sign, rest] = [text.charAt(0), text.slice(1)];
    if (sign !== ' ' && sign !== '-' && sign !== '+') throw new Error(`the hunk at line ${at + 1} ends too early`);
    if (sign !== '+') before.push(rest);
    if (sign !== '-') after.push(rest);
  }
  if (before.length !== Number(oldCount) || after.length !== Number(newCount)) {
    throw new Error(`the hunk at line ${at + 1} has other lines than its header says`);
  }
  return { hunk: { line: Number(line), before, after }, end };
}

/**
 * The text after the diff. Every line that a hunk names must be there exactly as it says: at its line, or, where the file
 * has grown above it, at the one place that has them. Throws otherwise; nothing is guessed.
 */
export function applyDiff(text: string, { path, hunks }: FileDiff): string {
  const lines = text.split('\n');
  const done: string[] = [];
  let from = 0;
  for (const { line, before, after } of hunks) {
    const places = placesOf(before, lines, from);
    const at = places.includes(line - 1) ? line - 1 : places[0];
    if (at === undefined) throw new Error(`${path} has changed where the hunk of line ${line} would change it`);
    if (at !== line - 1 && places.length > 1)
      throw new Error(`${path} has the hunk of line ${line} in more than one place`);
    done.push(...lines.slice(from, at), ...after);
    from = at + before.length;
  }
  return [...done, ...lines.slice(from)].join('\n');
}

function placesOf(wanted: readonly string[], lines: readonly string[], from: number): readonly number[] {
  const places: number[] = [];
  for (let at = from; wanted.length > 0 && at + wanted.length <= lines.length; at += 1) {
    if (wanted.every((line, offset) => lines[at + offset] === line)) places.push(at);
  }
  return places;
}
