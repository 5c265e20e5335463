/**
 * What an answer says to a client, read by the documentation of each dialect and written apart from the product, to compare
 * it with: providers' recordings before they are translated, and what the gateway made of them.
 */
export interface ReadAnswer {
  readonly text: string;
  readonly reasoning: string;
  readonly refusal: string;
  /** What proves the thoughts to their provider, in order. */
  readonly signatures: readonly string[];
  readonly calls: readonly ReadCall[];
  /** URLs, in order. */
  readonly citations: readonly string[];
  readonly finish: ReadFinish;
  readonly usage: ReadUsage | undefined;
}

export interface ReadCall {
  readonly kind: 'function' | 'custom';
  readonly id: string;
  readonly name: string;
  /** JSON text as the model wrote it, `{}` for none; of a custom tool its input. */
  readonly arguments: string;
}

export type ReadFinish = 'stop' | 'length' | 'tool_calls' | 'content_filter' | 'refusal' | 'pause' | 'none';

/** Buckets that do not overlap. */
export interface ReadUsage {
  readonly input: number;
  readonly cached: number;
  readonly cacheWrite: number;
  readonly output: number;
  readonly reasoning: number;
}

/** Collects an answer that comes in pieces. */
export class AnswerParts {
  text = '';
  reasoning = '';
  refusal = '';
  readonly signatures: string[] = [];
  readonly citations: string[] = [];
  readonly calls: { kind: ReadCall['kind']; id: string; name: string; arguments: string }[] = [];
  finish: ReadFinish = 'none';
  usage: ReadUsage | undefined;

  answer(): ReadAnswer {
    const calls = this.calls.map((call) => ({
      ...call,
      arguments: call.kind === 'function' ? call.arguments || '{}' : call.arguments,
    }));
    const { text, reasoning, refusal, signatures, citations, finish, usage } = this;
    return { text, reasoning, refusal, signatures, calls, citations, finish, usage };
  }
}

export type Json = Readonly<Record<string, unknown>>;

export function obj(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

export function str(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function num(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
