import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Real provider answers beside the project; data for tests, not part of it. */
const RECORDINGS = join(__dirname, '..', '..', '..', 'shared', 'recorded-streams');
const FOLDER = join(RECORDINGS, 'openai-chat');
const STREAM = '.chunks.txt';
/** Neither answers nor streams. */
const PAPERS = ['README.md', 'LICENSE'];

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

export type RecordedDialect = 'openai-chat' | 'anthropic-messages' | 'openai-responses' | 'openai-embedding';

/** One call as it was recorded in any dialect: a whole body, or the stream of one. */
export interface RecordedCall {
  /** Path below the recordings; of a file with several calls in a row ` call 1` and so on after it. */
  readonly name: string;
  readonly dialect: RecordedDialect;
  readonly isStream: boolean;
  readonly bytes: Buffer;
}

/** Every file there is, so that none is forgotten. Undefined where this machine has no recordings. */
export function recordedCalls(): readonly RecordedCall[] | undefined {
  if (!existsSync(RECORDINGS)) return undefined;
  const files = readdirSync(RECORDINGS, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.\w+$/.test(file) && !PAPERS.includes(file))
    .sort();
  return files.flatMap((file) => callsIn(file));
}

function callsIn(file: string): RecordedCall[] {
  const dialect = file.replace(/[/\\.].*$/, '') as RecordedDialect;
  const bytes = readFileSync(join(RECORDINGS, file));
  if (!file.endsWith(STREAM)) return [{ name: file, dialect, isStream: false, bytes }];
  const calls = splitAtStarts(bytes.toString('utf8').split('\n').filter(Boolean));
  return calls.map((events, at) => ({
    name: calls.length > 1 ? `${file} call ${at + 1}` : file,
    dialect,
    isStream: true,
    bytes: dialect === 'openai-chat' ? asStream(events) : asNamedEvents(events),
  }));
}

function splitAtStarts(events: readonly string[]): readonly string[][] {
  const calls: string[][] = [];
  for (const event of events) {
    const isStart = /^\{"type":"(message_start|response\.created)"/.test(event);
    if (isStart || calls.length === 0) calls.push([]);
    calls.at(-1)?.push(event);
  }
  return calls;
}

/** As Anthropic and the Responses API send them. */
function asNamedEvents(events: readonly string[]): Buffer {
  // Not every line is JSON: some hand-made ones lack their last bracket.
  const typeOf = (event: string): string => /^\{"type":"([\w.]+)"/.exec(event)?.[1] ?? '';
  const frames = events.map((event) => `event: ${typeOf(event)}\ndata: ${event}\n\n`);
  return Buffer.from(frames.join(''));
}
