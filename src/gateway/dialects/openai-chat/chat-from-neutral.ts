import { type Refusal } from '../../../kernel/errors';
import type { JsonObject } from '../../../kernel/json-object';
import type { RenderTarget } from '../dialect';
import { isRefusal } from '../invalid-request';
import { CUSTOM_TOOL_PARAMETERS, customToolDescription } from '../neutral/custom-tool';
import {
  fieldOf,
  type NeutralOutputFormat,
  type NeutralReasoning,
  type NeutralRequest,
  type NeutralTool,
  type NeutralToolChoice,
} from '../neutral/neutral-request';
import { effortOfBudget } from '../neutral/reasoning-effort';
import { untranslatable } from './chat-fields';
import { renderMessages } from './chat-from-messages';

/** OpenAI's own models; those that it gives away are served by others. */
const OPENAI_MODEL = /^(ft:)?(gpt-(?!oss)|o\d|chatgpt-|codex-)/;
/** They refuse `max_tokens` and know `verbosity`. Providers of other models may know nothing but the former. */
const NEWER_OPENAI_MODEL = /(^|[/:])(gpt-(?!oss|[34])|o\d|codex-)/;
/** OpenAI takes no longer ones, and Claude Code's are. */
const MAX_END_USER_LENGTH = 64;

/** Of OpenAI's options: those that chat has, and those that change no answer. */
const OPTIONS: ReadonlySet<string> = new Set([
  'metadata',
  'store',
  'seed',
  'frequency_penalty',
  'presence_penalty',
  'logit_bias',
]);
const HINTS: ReadonlySet<string> = new Set([
  'prompt_cache_key',
  'prompt_cache_retention',
  'prompt_cache_options',
  'safety_identifier',
]);

/**
 * The body for a provider of chat, in the forms that most of them take: functions for every tool, strings for text.
 * Without effect are marks for the cache and keys of it, the name of an end user that is too long, verbosity for models
 * that know none, and how thoughts are to be shown: they are where the provider shows them.
 */
export function renderChatRequest(request: NeutralRequest, { upstreamModel }: RenderTarget): Buffer | Refusal {
  if (request.topK !== undefined) return untranslatable(fieldOf(request, 'topK'));
  const options = renderOptions(request.openAiOptions);
  if (isRefusal(options)) return options;
  const messages = renderMessages(request, !OPENAI_MODEL.test(upstreamModel));
  if (isRefusal(messages)) return messages;
  const { maxOutputTokens, temperature, topP, stopSequences, verbosity, endUser, serviceTier } = request;
  const isNewer = NEWER_OPENAI_MODEL.test(upstreamModel);
  const body = {
    model: upstreamModel,
    messages,
    ...renderTools(request),
    [isNewer ? 'max_completion_tokens' : 'max_tokens']: maxOutputTokens,
    temperature,
    top_p: topP,
    stop: stopSequences.length > 0 ? stopSequences : undefined,
    reasoning_effort: request.reasoning && effortOf(request.reasoning),
    response_format: request.outputFormat && renderOutputFormat(request.outputFormat),
    verbosity: isNewer ? verbosity : undefined,
    user: endUser !== undefined && endUser.length <= MAX_END_USER_LENGTH ? endUser : undefined,
    service_tier: serviceTier === 'auto' ? undefined : serviceTier,
    ...options,
    ...(request.stream ? { stream: true, stream_options: { include_usage: true } } : {}),
  };
  return Buffer.from(JSON.stringify(body));
}

function renderOptions(options: JsonObject): JsonObject | Refusal {
  const rendered: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    if (HINTS.has(name) || (name === 'store' && value === false)) continue;
    if (!OPTIONS.has(name)) return untranslatable(name);
    rendered[name] = value;
  }
  return rendered;
}

/** Without tools, neither a choice nor how many at once is taken. What is so anyway is left unsaid: not all know the words. */
function renderTools({ tools, toolChoice, parallelToolCalls }: NeutralRequest): JsonObject {
  if (tools.length === 0) return {};
  return {
    tools: tools.map(renderTool),
    tool_choice: toolChoice && renderChoice(toolChoice),
    parallel_tool_calls: parallelToolCalls === false ? false : undefined,
  };
}

function renderTool(tool: NeutralTool): JsonObject {
  const { name, description, parameters, strict } = tool;
  const described =
    tool.type === 'custom'
      ? { name, description: customToolDescription(tool), parameters: CUSTOM_TOOL_PARAMETERS }
      : { name, description, parameters, strict: strict === true ? true : undefined };
  return { type: 'function', function: described };
}

function renderChoice(choice: NeutralToolChoice): unknown {
  return choice.type === 'tool' ? { type: 'function', function: { name: choice.name } } : choice.type;
}

function renderOutputFormat(format: NeutralOutputFormat): JsonObject {
  if (format.type === 'json_object') return { type: 'json_object' };
  const { name, description, schema, strict } = format;
  return { type: 'json_schema', json_schema: { name: name ?? 'answer', description, schema, strict } };
}

/** None where the model is to think as it likes. That it must not cannot be said to models that always do. */
function effortOf({ effort, budgetTokens }: NeutralReasoning): string | undefined {
  return effort ?? (budgetTokens === undefined ? undefined : effortOfBudget(budgetTokens));
}
