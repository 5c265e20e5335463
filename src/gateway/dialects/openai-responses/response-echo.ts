import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { AnswerLook } from '../dialect';
import { isArray } from '../json-value';

/** What a response repeats of its request, and OpenAI's defaults for what the request does not say. */
export function responseEcho({ model, request: { body }, answerId, nowMs }: AnswerLook): JsonObject {
  const { reasoning, text, tools, user } = body;
  return {
    id: `resp_${answerId}`,
    object: 'response',
    created_at: Math.floor(nowMs / 1000),
    background: false,
    error: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    max_tool_calls: body.max_tool_calls ?? null,
    metadata: body.metadata ?? {},
    model,
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    prompt_cache_key: body.prompt_cache_key ?? null,
    reasoning: { effort: null, summary: null, ...(isObject(reasoning) ? reasoning : {}) },
    safety_identifier: body.safety_identifier ?? null,
    service_tier: body.service_tier ?? 'default',
    // Nothing is kept, whatever was asked for: nobody can build on this response by its id.
    store: false,
    temperature: body.temperature ?? 1,
    text: { format: { type: 'text' }, ...(isObject(text) ? withoutNulls(text) : {}) },
    tool_choice: body.tool_choice ?? 'auto',
    tools: isArray(tools) ? tools.map(echoedTool) : [],
    top_logprobs: body.top_logprobs ?? 0,
    top_p: body.top_p ?? 1,
    truncation: body.truncation ?? 'disabled',
    ...(typeof user === 'string' ? { user } : {}),
  };
}

function echoedTool(tool: unknown): unknown {
  return isObject(tool) && tool.type === 'function' ? { parameters: null, strict: null, ...tool } : tool;
}

function withoutNulls(object: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));
}
