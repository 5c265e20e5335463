import { type Answer, type Usage } from '../answer';
import { isRecord, type JsonRecord, type SimRequest } from '../request';

/** The `response` object around its output; it repeats much of the request. */
export function responseObject(
  request: SimRequest,
  answer: Answer,
  state: { readonly status: string; readonly output: readonly object[]; readonly usage?: Usage | null | undefined },
): Record<string, unknown> {
  const { body } = request;
  const text = isRecord(body.text) ? body.text : {};
  const { usage } = state;
  return {
    id: `resp_sim_${answer.serial}`,
    object: 'response',
    created_at: answer.createdSeconds,
    status: state.status,
    background: false,
    error: null,
    incomplete_details: state.status === 'incomplete' ? { reason: incompleteReason(answer) } : null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    max_tool_calls: null,
    model: request.model,
    output: state.output,
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null, ...(isRecord(body.reasoning) ? body.reasoning : {}) },
    service_tier: 'default',
    store: body.store ?? true,
    temperature: body.temperature ?? 1,
    text: { format: { type: 'text' }, ...text },
    tool_choice: body.tool_choice ?? 'auto',
    tools: toolsOf(body),
    top_logprobs: 0,
    top_p: body.top_p ?? 1,
    truncation: body.truncation ?? 'disabled',
    ...(usage === undefined ? {} : { usage: usage === null ? null : responsesUsage(usage) }),
    metadata: body.metadata ?? {},
  };
}

/** A response says of each function whether it is strict; a request need not. */
function toolsOf({ tools }: JsonRecord): unknown[] {
  if (!Array.isArray(tools)) return [];
  return tools.map((tool: unknown) => (isRecord(tool) && tool.type === 'function' ? { strict: true, ...tool } : tool));
}

export function isIncomplete(answer: Answer): boolean {
  return answer.finishReason === 'length' || answer.finishReason === 'content_filter';
}

function incompleteReason(answer: Answer): string {
  return answer.finishReason === 'length' ? 'max_output_tokens' : 'content_filter';
}

function responsesUsage(usage: Usage): object {
  const { cached_tokens: cached, cache_write_tokens: written = 0 } = usage.prompt_tokens_details;
  return {
    input_tokens: usage.prompt_tokens,
    input_tokens_details: { cached_tokens: cached, cache_write_tokens: written },
    output_tokens: usage.completion_tokens,
    output_tokens_details: { reasoning_tokens: usage.completion_tokens_details.reasoning_tokens },
    total_tokens: usage.prompt_tokens + usage.completion_tokens,
  };
}
