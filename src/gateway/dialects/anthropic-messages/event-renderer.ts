import type { TokenCounts } from '../../../catalogue/price';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { AnswerLook, EventRenderer } from '../dialect';
import { renderEvent } from '../event-frame';
import type { NeutralEvent } from '../neutral/neutral-event';
import { MessageFrames } from './message-frames';
import { toolInputOf } from './tool-input';
import { textOf } from '../json-value';

/** The stream of one message, as Anthropic's clients read it. */
export class MessageEventRenderer implements EventRenderer {
  private readonly frames: MessageFrames;

  constructor(look: AnswerLook) {
    this.frames = new MessageFrames(look);
  }

  render(event: NeutralEvent): string {
    return sse(this.frames.of(event));
  }

  cut(billed: TokenCounts | undefined): string {
    return sse(this.frames.cut(billed));
  }

  terminal(): string {
    return sse([{ type: 'message_stop' }]);
  }
}

function sse(frames: readonly JsonObject[]): string {
  return frames.map(renderEvent).join('');
}

/** A whole message, put together from the frames of its stream as a client would. */
export function renderMessage(events: readonly NeutralEvent[], look: AnswerLook): JsonObject {
  const frames = new MessageFrames(look);
  let message: JsonObject = {};
  const content: JsonObject[] = [];
  for (const frame of events.flatMap((event) => frames.of(event))) {
    if (frame.type === 'message_start' && isObject(frame.message)) message = frame.message;
    else if (frame.type === 'message_delta' && isObject(frame.delta)) {
      message = { ...message, ...frame.delta, usage: frame.usage };
    } else if (isObject(frame.content_block)) content.push(frame.content_block);
    else if (isObject(frame.delta)) content.push(extended(content.pop() ?? {}, frame.delta));
    else if (frame.type === 'content_block_stop') content.push(ended(content.pop() ?? {}));
  }
  return { ...message, content };
}

function extended(block: JsonObject, delta: JsonObject): JsonObject {
  switch (delta.type) {
    case 'text_delta':
      return { ...block, text: `${textOf(block.text)}${textOf(delta.text)}` };
    case 'thinking_delta':
      return { ...block, thinking: `${textOf(block.thinking)}${textOf(delta.thinking)}` };
    case 'input_json_delta':
      return { ...block, input: `${textOf(block.input)}${textOf(delta.partial_json)}` };
    case 'signature_delta':
      return { ...block, signature: delta.signature };
    default:
      return {
        ...block,
        citations: [...(Array.isArray(block.citations) ? (block.citations as unknown[]) : []), delta.citation],
      };
  }
}

function ended(block: JsonObject): JsonObject {
  return typeof block.input === 'string' ? { ...block, input: toolInputOf(block.input) } : block;
}
