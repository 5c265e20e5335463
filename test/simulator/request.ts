import type { Tool } from './tools';

/** The API that a call came in: what clients of this provider speak. */
export type WireName = 'openai-chat' | 'openai-responses' | 'anthropic-messages' | 'openai-embeddings';

/** What the simulator reads of a request, in any dialect; everything else passes it by. */
export interface SimRequest {
  readonly wire: WireName;
  readonly model: string;
  readonly isStream: boolean;
  /** Of dialects that always report it: true. */
  readonly wantsUsage: boolean;
  readonly prompt: string;
  readonly maxTokens: number | undefined;
  readonly choices: number;
  /** The text ends before the first of these. */
  readonly stopSequences: readonly string[];
  /** Of the conversation, in order: where each image is from, and what it is. */
  readonly images: readonly string[];
  readonly tools: readonly Tool[];
  /** The one tool that must be called, where the request says so. */
  readonly forcedTool: string | undefined;
  readonly body: JsonRecord;
}

export type JsonRecord = Readonly<Record<string, unknown>>;

/** A provider would answer 400. */
export class RequestError extends Error {
  override readonly name = 'RequestError';

  constructor(
    readonly param: string,
    message: string,
  ) {
    super(`Invalid value for '${param}': ${message}.`);
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function recordsOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

/** @throws RequestError */
export function requiredModel(body: JsonRecord): string {
  const { model } = body;
  if (typeof model !== 'string' || model === '') throw new RequestError('model', 'you must provide a model parameter');
  return model;
}

/** The text of a message's content, in any dialect: text itself, or parts of which some have a text. */
export function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  return recordsOf(content)
    .map(({ text }) => (typeof text === 'string' ? text : ''))
    .join(' ');
}

export function numberOr(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

/** How an image is told in `Behaviour.echoesImages`: a URL as it is, data by its type and length. */
export function imageFromUrl(url: unknown): string {
  const data = typeof url === 'string' ? /^data:([^;,]*);base64,(.*)$/s.exec(url) : undefined;
  return data ? imageFromData(data[1], data[2]) : String(url);
}

export function imageFromData(mediaType: unknown, base64: unknown): string {
  return `${String(mediaType)}, ${Buffer.from(String(base64), 'base64').length} bytes`;
}
