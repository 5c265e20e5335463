import {
  AnswerParts,
  list,
  type Json,
  num,
  obj,
  type ReadAnswer,
  type ReadFinish,
  type ReadUsage,
  str,
} from './read-answer';

/** Of the JSON of each event. */
export function readResponseStream(events: readonly Json[]): ReadAnswer {
  const parts = new AnswerParts();
  const arguments_ = new Map<number, string>();
  for (const event of events) {
    const index = num(event.output_index);
    const delta = str(event.delta);
    switch (event.type) {
      // What a part comes to is its last word; a stream whose deltas say less is cut short.
      case 'response.output_text.done':
        parts.text += str(event.text);
        break;
      case 'response.refusal.delta':
        parts.refusal += delta;
        break;
      case 'response.reasoning_text.delta':
      case 'response.reasoning_summary_text.delta':
        parts.reasoning += delta;
        break;
      case 'response.function_call_arguments.delta':
      case 'response.custom_tool_call_input.delta':
        arguments_.set(index, (arguments_.get(index) ?? '') + delta);
        break;
      case 'response.output_text.annotation.added':
        parts.citations.push(str(obj(event.annotation).url));
        break;
      case 'response.output_item.done':
        addItem(parts, obj(event.item), arguments_.get(index));
        break;
      case 'response.completed':
      case 'response.incomplete':
        endWith(parts, obj(event.response));
        break;
    }
  }
  return parts.answer();
}

export function readResponseBody(body: Json): ReadAnswer {
  const parts = new AnswerParts();
  for (const item of list(body.output).map(obj)) {
    for (const content of list(item.content).map(obj)) addContent(parts, content);
    for (const summary of list(item.summary).map(obj)) parts.reasoning += str(summary.text);
    addItem(parts, item, undefined);
  }
  endWith(parts, body);
  return parts.answer();
}

function addContent(parts: AnswerParts, content: Json): void {
  if (content.type === 'output_text') parts.text += str(content.text);
  if (content.type === 'refusal') parts.refusal += str(content.refusal);
  if (content.type === 'reasoning_text') parts.reasoning += str(content.text);
  for (const annotation of list(content.annotations).map(obj)) {
    if (annotation.type === 'url_citation') parts.citations.push(str(annotation.url));
  }
}

/** What only the whole item says. */
function addItem(parts: AnswerParts, item: Json, streamed: string | undefined): void {
  const [id, name] = [str(item.call_id), str(item.name)];
  if (item.type === 'function_call') {
    parts.calls.push({ kind: 'function', id, name, arguments: streamed ?? str(item.arguments) });
  }
  if (item.type === 'custom_tool_call') {
    parts.calls.push({ kind: 'custom', id, name, arguments: streamed ?? str(item.input) });
  }
  if (item.type === 'reasoning' && str(item.encrypted_content) !== '') {
    parts.signatures.push(str(item.encrypted_content));
  }
}

function endWith(parts: AnswerParts, response: Json): void {
  parts.finish = finishOf(parts, response);
  if (typeof response.usage === 'object' && response.usage !== null)
    parts.usage = readResponseUsage(obj(response.usage));
}

function finishOf(parts: AnswerParts, response: Json): ReadFinish {
  if (response.status === 'incomplete') {
    const reason = str(obj(response.incomplete_details).reason);
    return reason === 'content_filter' ? 'content_filter' : 'length';
  }
  if (response.status !== 'completed') return 'none';
  return parts.calls.length > 0 ? 'tool_calls' : 'stop';
}

function readResponseUsage(usage: Json): ReadUsage {
  const cached = num(obj(usage.input_tokens_details).cached_tokens);
  const cacheWrite = num(obj(usage.input_tokens_details).cache_write_tokens);
  const reasoning = num(obj(usage.output_tokens_details).reasoning_tokens);
  return {
    input: num(usage.input_tokens) - cached - cacheWrite,
    cached,
    cacheWrite,
    output: num(usage.output_tokens) - reasoning,
    reasoning,
  };
}
