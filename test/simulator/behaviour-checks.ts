import {
  type Behaviour,
  BehaviourError,
  type Citation,
  type HttpFailure,
  type ToolCall,
  USAGE_STYLES,
} from './behaviour';

type Check = (value: unknown) => boolean;

const isCount: Check = (v) => typeof v === 'number' && Number.isSafeInteger(v) && v >= 0;
const isText: Check = (v) => typeof v === 'string';
const isFlag: Check = (v) => typeof v === 'boolean';
const isPoint: Check = (v) => v === 'headers' || isCount(v);
const isListOf =
  (check: Check): Check =>
  (v) =>
    Array.isArray(v) && v.every(check);
const isOneOf =
  (...allowed: readonly unknown[]): Check =>
  (v) =>
    allowed.includes(v);
const isPositive: Check = (v) => isCount(v) && v !== 0;

const FAILURE_CHECKS: Record<keyof HttpFailure, Check> = {
  status: (v) => isCount(v) && Number(v) >= 200 && Number(v) <= 599,
  retryAfter: isText,
  message: isText,
  type: isText,
  code: isText,
  body: isText,
  firstCalls: isCount,
  stormKey: isText,
};
const TOOL_CHECKS: Record<keyof ToolCall, Check> = { name: isText, arguments: isText, id: isText };
const CITATION_CHECKS: Record<keyof Citation, Check> = { url: isText, title: isText };

const CHECKS: Record<keyof Behaviour, Check> = {
  tag: isText,
  text: isText,
  tokens: isCount,
  chunks: isPositive,
  toolCalls: isListOf((v) => unfitField(v, TOOL_CHECKS, ['name', 'arguments']) === undefined),
  json: isText,
  reasoning: isText,
  isReasoningRaw: isFlag,
  signature: isText,
  redactedReasoning: isText,
  refusal: isText,
  citations: isListOf((v) => unfitField(v, CITATION_CHECKS, ['url', 'title']) === undefined),
  echoesImages: isFlag,
  finishReason: isText,
  ignoresMaxTokens: isFlag,
  usage: isOneOf(...USAGE_STYLES),
  promptTokens: isCount,
  completionTokens: isCount,
  cachedTokens: isCount,
  cacheWriteTokens: isCount,
  reasoningTokens: isCount,
  isReasoningAdditive: isFlag,
  headersDelayMs: isCount,
  paceMs: isCount,
  fail: (v) => unfitField(v, FAILURE_CHECKS, ['status']) === undefined,
  hangAt: isPoint,
  resetAt: isPoint,
  endAt: isCount,
  errorEventAt: isCount,
  errorEventMessage: isText,
  errorEventType: isText,
  garbageAt: isCount,
  done: isFlag,
  sliceBytes: (v) => isListOf(isPositive)(v) && (v as unknown[]).length > 0,
  splitAtByte: isCount,
  lineEnding: isOneOf('\n', '\r\n', '\r'),
  comments: isFlag,
  padFrameBytes: isCount,
  frames: isListOf(isText),
  body: isText,
  contentType: isText,
};

/** @throws BehaviourError naming the field: a misspelt directive must not look like a passing test. */
export function parseBehaviour(value: unknown): Behaviour {
  const unfit = unfitField(value, CHECKS, []);
  if (unfit !== undefined) throw new BehaviourError(`simulator: bad or unknown behaviour field "${unfit}"`);
  return value as Behaviour;
}

function unfitField(value: unknown, checks: Readonly<Record<string, Check>>, required: string[]): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return '(not an object)';
  const missing = required.find((field) => !(field in value));
  if (missing !== undefined) return missing;
  for (const [field, fieldValue] of Object.entries(value)) {
    const check = Object.hasOwn(checks, field) ? checks[field] : undefined;
    if (check?.(fieldValue) !== true) return field;
  }
  return undefined;
}
