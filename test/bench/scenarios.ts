/**
 * What is asked and what the mock upstream answers. Answers are fixed, so every charge of a scenario has one exact
 * amount, computed here by hand and compared with each row.
 */
export interface Scenario {
  readonly name: ScenarioName;
  readonly title: string;
  readonly model: string;
  readonly isStream: boolean;
  /** Open calls of the load generator. */
  readonly concurrency: number;
  readonly requestBody: string;
  /** Non-stream: one part, the body. Stream: one part a server-sent event. */
  readonly answerParts: readonly string[];
  /** Milliseconds between two parts; 0: all in one write. */
  readonly pauseMs: number;
  /** Milliseconds before the first part. */
  readonly thinkMs: number;
  readonly caller: Caller;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

export type ScenarioName = 'S1' | 'S1-full' | 'S1-scopes' | 'S1-20ms' | 'S1-20ms-scopes' | 'S2' | 'S2-burst';

/** Whose key asks: of the tenant without limits, or of the one that meets every scope there is, far from its limits. */
export type Caller = 'unlimited' | 'limited';

/** USD per million tokens, as given to the admin API; the amounts below are in nano-USD. */
export const INPUT_USD_PER_MTOK = '2.5';
export const OUTPUT_USD_PER_MTOK = '10';
const INPUT_NANO_USD_PER_TOKEN = 2_500n;
const OUTPUT_NANO_USD_PER_TOKEN = 10_000n;

export function amountNanoUsd(scenario: Scenario): bigint {
  return (
    BigInt(scenario.promptTokens) * INPUT_NANO_USD_PER_TOKEN +
    BigInt(scenario.completionTokens) * OUTPUT_NANO_USD_PER_TOKEN
  );
}

const CREATED_SECONDS = 1_763_700_000;

function requestBody(model: string, isStream: boolean): string {
  const shape = { model, messages: [{ role: 'system', content: 'Answer shortly.' }], max_tokens: 256 };
  const extra = isStream ? { stream: true, stream_options: { include_usage: true } } : {};
  const without = JSON.stringify({ ...shape, ...extra, user: '' }).length;
  const question = 'How does a ledger that can be proved right work? '.repeat(30).slice(0, 1024 - without - 31);
  return JSON.stringify({
    ...shape,
    ...extra,
    messages: [...shape.messages, { role: 'user', content: question }],
    user: '',
  });
}

const usageOf = (promptTokens: number, completionTokens: number): object => ({
  prompt_tokens: promptTokens,
  completion_tokens: completionTokens,
  total_tokens: promptTokens + completionTokens,
  prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
});

function wholeAnswer(model: string, promptTokens: number, completionTokens: number): string {
  const content = 'Every row debits one account and credits another by the same amount. '.repeat(9).trim();
  return JSON.stringify({
    id: 'chatcmpl-bench',
    object: 'chat.completion',
    created: CREATED_SECONDS,
    model,
    choices: [
      { index: 0, message: { role: 'assistant', content, refusal: null }, logprobs: null, finish_reason: 'stop' },
    ],
    usage: usageOf(promptTokens, completionTokens),
  });
}

/** 100 events in all: 97 of text, finish, usage, `[DONE]`. */
function streamedAnswer(model: string, promptTokens: number, completionTokens: number): string[] {
  const chunk = (choices: object[], usage: object | null): string =>
    `data: ${JSON.stringify({
      id: 'chatcmpl-bench',
      object: 'chat.completion.chunk',
      created: CREATED_SECONDS,
      model,
      choices,
      usage,
    })}\n\n`;
  const delta = (fields: object, reason: string | null): object[] => [
    { index: 0, delta: fields, logprobs: null, finish_reason: reason },
  ];
  const texts = Array.from({ length: 97 }, (_, i) => chunk(delta({ content: ` token${i}` }, null), null));
  const usage = chunk([], usageOf(promptTokens, completionTokens));
  return [...texts, chunk(delta({}, 'stop'), null), usage, 'data: [DONE]\n\n'];
}

function stream(name: ScenarioName, title: string, model: string, pauseMs: number): Scenario {
  return {
    name,
    title,
    model,
    isStream: true,
    // Below saturation of one core, so that chunks reach the gateway one by one and no subject saves work by lagging.
    concurrency: 32,
    requestBody: requestBody(model, true),
    answerParts: streamedAnswer(model, 230, 97),
    pauseMs,
    thinkMs: 0,
    caller: 'unlimited',
    promptTokens: 230,
    completionTokens: 97,
  };
}

function whole(
  name: ScenarioName,
  title: string,
  model: string,
  { concurrency, thinkMs = 0, caller = 'unlimited' }: { concurrency: number; thinkMs?: number; caller?: Caller },
): Scenario {
  return {
    name,
    title,
    model,
    isStream: false,
    concurrency,
    requestBody: requestBody(model, false),
    answerParts: [wholeAnswer(model, 230, 120)],
    pauseMs: 0,
    thinkMs,
    caller,
    promptTokens: 230,
    completionTokens: 120,
  };
}

/** What the upstream of the half load takes for its answer (see half-load.ts). */
const UPSTREAM_MS = 20;

export const SCENARIOS: Readonly<Record<ScenarioName, Scenario>> = {
  S1: whole('S1', '1 KB request, 1 KB answer, no stream, 64 open calls', 'bench-whole', { concurrency: 64 }),
  // The same at saturation: a call that awaits two commits keeps the core busy only where many are open.
  'S1-full': whole('S1-full', '1 KB request, 1 KB answer, no stream, 256 open calls', 'bench-full', {
    concurrency: 256,
  }),
  'S1-scopes': whole('S1-scopes', 'S1-full by a key that meets every scope', 'bench-scopes', {
    concurrency: 256,
    caller: 'limited',
  }),
  'S1-20ms': whole('S1-20ms', 'S1 with an upstream that takes 20 ms', 'bench-20ms', {
    concurrency: 64,
    thinkMs: UPSTREAM_MS,
  }),
  'S1-20ms-scopes': whole('S1-20ms-scopes', 'S1-20ms by a key that meets every scope', 'bench-20ms-scopes', {
    concurrency: 64,
    thinkMs: UPSTREAM_MS,
    caller: 'limited',
  }),
  S2: stream('S2', 'stream of 100 events, each its own write, 1 ms apart', 'bench-stream', 1),
  'S2-burst': stream('S2-burst', 'stream of 100 events in one write', 'bench-burst', 0),
};
