/** What a client makes of a chat stream: written apart from the product, to compare it with. */
export interface AssembledAnswer {
  text: string;
  reasoning: string;
  refusal: string;
  toolCalls: Record<number, { id?: string | undefined; name: string; arguments: string }>;
  finishReason?: string;
  model?: string | undefined;
  usage?: unknown;
}

interface Chunk {
  model?: string;
  usage?: unknown;
  choices: {
    delta: {
      content?: string | null;
      reasoning_content?: string | null;
      refusal?: string | null;
      tool_calls?: { index?: number; id?: string; function?: { name?: string; arguments?: string } }[] | null;
    };
    finish_reason?: string | null;
  }[];
}

export function assemble(events: readonly string[]): AssembledAnswer {
  const answer: AssembledAnswer = { text: '', reasoning: '', refusal: '', toolCalls: {} };
  for (const event of events) {
    const chunk = JSON.parse(event) as Chunk;
    answer.model = chunk.model;
    if (chunk.usage) answer.usage = chunk.usage;
    for (const { delta, finish_reason } of chunk.choices) {
      answer.text += delta.content ?? '';
      answer.reasoning += delta.reasoning_content ?? '';
      answer.refusal += delta.refusal ?? '';
      (delta.tool_calls ?? []).forEach(({ index, id, function: called }, position) => {
        const call = (answer.toolCalls[index ?? position] ??= { name: '', arguments: '' });
        if (id !== undefined) call.id = id;
        call.name += called?.name ?? '';
        call.arguments += called?.arguments ?? '';
      });
      if (finish_reason) answer.finishReason = finish_reason;
    }
  }
  return answer;
}

/** The data of each event of an event stream with plain `data:` lines, and whether `[DONE]` ended it. */
export function readEvents(stream: string): { events: string[]; comments: string[]; isDone: boolean } {
  const frames = stream.split('\n\n').filter(Boolean);
  const data = frames.filter((frame) => frame.startsWith('data: ')).map((frame) => frame.slice('data: '.length));
  const isDone = data.at(-1) === '[DONE]';
  return {
    events: isDone ? data.slice(0, -1) : data,
    comments: frames.filter((frame) => frame.startsWith(':')).map((frame) => frame.slice(1).trim()),
    isDone,
  };
}
