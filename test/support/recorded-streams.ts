import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Real provider answers beside the project; data for tests, not part of it. */
const FOLDER = join(__dirname, '..', '..', '..', 'shared', 'recorded-streams', 'openai-chat');
const STREAM = '.chunks.txt';

export interface RecordedStream {
  readonly name: string;
  /** The JSON of each event, in order. */
  readonly events: readonly string[];
  /** As the provider sends it. */
  readonly bytes: Buffer;
}

/** Undefined where this machine has no recordings; a suite then says so instead of passing silently. */
export function recordedChatStreams(): readonly RecordedStream[] | undefined {
  if (!existsSync(FOLDER)) return undefined;
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(STREAM))
    .sort()
    .map((file) => {
      const events = readFileSync(join(FOLDER, file), 'utf8').split('\n').filter(Boolean);
      return { name: file.slice(0, -STREAM.length), events, bytes: asStream(events) };
    });
}

/** Whole answers of the same calls, by name. */
export function recordedChatBodies(): ReadonlyMap<string, Buffer> | undefined {
  if (!existsSync(FOLDER)) return undefined;
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.json'));
  return new Map(files.map((file) => [file.slice(0, -'.json'.length), readFileSync(join(FOLDER, file))]));
}

export function asStream(events: readonly string[], terminal = 'data: [DONE]\n\n'): Buffer {
  return Buffer.from(events.map((event) => `data: ${event}\n\n`).join('') + terminal);
}
