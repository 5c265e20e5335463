/** One question, in no client's words. Each client asks it in the way its documentation says. */
export interface Question {
  readonly prompt: string;
  readonly isStream: boolean;
  /** A data URL that goes along with the prompt. */
  readonly image?: string;
  /** The tools WEATHER_TOOLS may be called. */
  readonly mayCallTools?: boolean;
  /** The answer must be JSON by ANSWER_SCHEMA. */
  readonly isStructured?: boolean;
  readonly maxTokens?: number;
  readonly thinks?: boolean;
  /** The answer that came before, whose calls came to RESULTS_OF_TOOLS. */
  readonly after?: Told;
  readonly signal?: AbortSignal;
  /** Hears the first piece of text of a stream. */
  readonly onText?: () => void;
}

/** What the client tells its user. */
export interface Told {
  readonly text: string;
  readonly reasoning: string;
  readonly refusal: string;
  readonly calls: readonly ToldCall[];
  readonly finish: string;
  /** All tokens of the prompt, and of the answer. */
  readonly usage: { readonly input: number; readonly output: number };
  /** The answer as the client keeps it, for its next request. */
  readonly kept: unknown;
}

export interface ToldCall {
  readonly id: string;
  readonly name: string;
  readonly input: unknown;
}

export type Dialect = 'openai-chat' | 'openai-responses' | 'anthropic-messages';

export interface Client {
  readonly name: string;
  readonly dialect: Dialect;
  /** Whether it shows its user thoughts, and brings back what proves them. */
  readonly thoughts: 'none' | 'shown' | 'kept';
  /** It tells its user nothing of a refusal's words. */
  readonly dropsRefusals?: boolean;
  /** By status: the class of its errors. */
  readonly errors: Readonly<Record<400 | 401 | 402 | 429, string>>;
  readonly finishes: Finishes;
  ask(question: Question): Promise<Told>;
}

/** What the client calls the end of an answer. */
export type Finishes = Readonly<Record<'stop' | 'length' | 'tool_calls', string>>;
export const CHAT_FINISHES: Finishes = { stop: 'stop', length: 'length', tool_calls: 'tool_calls' };
export const RESPONSE_FINISHES: Finishes = { stop: 'completed', length: 'max_output_tokens', tool_calls: 'completed' };
export const MESSAGE_FINISHES: Finishes = { stop: 'end_turn', length: 'max_tokens', tool_calls: 'tool_use' };

/** How a client of the matrix reaches the gateway: `fetch` notes each answer's trace id. */
export interface Reach {
  readonly url: string;
  readonly key: string;
  readonly model: string;
  readonly fetch: typeof fetch;
}

export const WEATHER_TOOL = 'weather';
export const WEATHER_DESCRIPTION = 'Tells the weather of a city.';
export const WEATHER_PARAMETERS = {
  type: 'object' as const,
  properties: { city: { type: 'string' as const } },
  required: ['city'],
  additionalProperties: false as const,
};
export const RESULT_OF_TOOL = 'seven degrees, rain';

export const ANSWER_SCHEMA = {
  type: 'object' as const,
  properties: { city: { type: 'string' as const }, degrees: { type: 'integer' as const } },
  required: ['city', 'degrees'],
  additionalProperties: false as const,
};

export function parsedInput(text: string): unknown {
  return JSON.parse(text === '' ? '{}' : text);
}
