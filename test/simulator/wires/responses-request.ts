import {
  imageFromUrl,
  isRecord,
  type JsonRecord,
  numberOr,
  recordsOf,
  RequestError,
  requiredModel,
  type SimRequest,
  textOf,
} from '../request';
import type { Tool } from '../tools';

/**
 * Checks what OpenAI checks where a translated request may go wrong: an input, and an output for each call and no other.
 * @throws RequestError
 */
export function readResponsesRequest(body: JsonRecord): SimRequest {
  const model = requiredModel(body);
  const { input, previous_response_id: previous, tool_choice: choice } = body;
  if (typeof input !== 'string' && !(Array.isArray(input) && input.length > 0)) {
    throw new RequestError('input', 'expected a text or a list of items');
  }
  if (previous !== undefined && previous !== null) {
    throw new RequestError('previous_response_id', 'no response with this id is stored');
  }
  const items = recordsOf(input);
  checkCalls(items);
  const parts = items.flatMap(({ content, output }) => [...recordsOf(content), ...recordsOf(output)]);
  return {
    wire: 'openai-responses',
    model,
    isStream: body.stream === true,
    wantsUsage: true,
    prompt: [textOf(body.instructions), ...(typeof input === 'string' ? [input] : items.map(itemText))].join('\n'),
    maxTokens: numberOr(body.max_output_tokens),
    choices: 1,
    stopSequences: [],
    images: parts.filter(({ type }) => type === 'input_image').map(({ image_url: url }) => imageFromUrl(url)),
    tools: recordsOf(body.tools).flatMap(toolOf),
    forcedTool: isRecord(choice) && typeof choice.name === 'string' ? choice.name : undefined,
    body,
  };
}

function toolOf({ type, name }: JsonRecord): Tool[] {
  return typeof name === 'string' ? [{ name, isCustom: type === 'custom' }] : [];
}

function itemText({ content, output }: JsonRecord): string {
  return textOf(content ?? output);
}

function checkCalls(items: readonly JsonRecord[]): void {
  const called = callIdsOf(items, '_call');
  const answered = callIdsOf(items, '_call_output');
  for (const id of called) {
    if (!answered.has(id)) throw new RequestError('input', `no tool output found for function call ${id}`);
  }
  for (const id of answered) {
    if (!called.has(id)) throw new RequestError('input', `no tool call found for output with call_id ${id}`);
  }
}

/** Tools that the provider runs itself have calls without `call_id`. */
function callIdsOf(items: readonly JsonRecord[], suffix: string): Set<string> {
  return new Set(
    items
      .filter(({ type }) => typeof type === 'string' && type.endsWith(suffix))
      .map(({ call_id: id }) => id)
      .filter((id) => typeof id === 'string'),
  );
}
