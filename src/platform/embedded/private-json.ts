import { readFileSync, renameSync, writeFileSync } from 'node:fs';

/** The text fields of a small file that only we read; empty when there is none. A file that is not JSON throws. */
export function readPrivateJson(file: string): Record<string, string> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return {};
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${file} is not JSON: repair or remove it`, { cause: error });
  }
  const entries = Object.entries(typeof value === 'object' && value !== null ? value : {});
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

/** Replaces the file at once, so that a kill leaves the old or the new one. */
export function writePrivateJson(file: string, fields: Readonly<Record<string, string>>): void {
  const partial = `${file}.${process.pid}`;
  writeFileSync(partial, `${JSON.stringify(fields, null, 2)}\n`, { mode: 0o600 });
  renameSync(partial, file);
}
