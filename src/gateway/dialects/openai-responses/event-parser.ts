import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { EventParser } from '../dialect';
import { isArray, textOf } from '../json-value';
import { EventSink } from '../neutral/event-sink';
import type { NeutralEvent, NeutralFinishReason } from '../neutral/neutral-event';
import { ItemBlocks } from './item-blocks';
import { usageFromResponses } from './usage';

/** The events of a stream of one response. */
export class ResponseEventParser implements EventParser {
  private readonly sink = new EventSink();
  private readonly blocks = new ItemBlocks(this.sink);
  private hasStarted = false;
  private hasFinished = false;

  parse(frame: JsonObject): readonly NeutralEvent[] {
    const { type, response } = frame;
    if (typeof type !== 'string' || !type.startsWith('response.')) return [];
    if (!this.hasStarted) this.start(isObject(response) ? response : {});
    if (type === 'response.completed' || type === 'response.incomplete')
      this.finish(isObject(response) ? response : {});
    else this.readPiece(type, frame);
    return this.sink.take();
  }

  end(): readonly NeutralEvent[] {
    if (!this.hasStarted) this.start({});
    if (!this.hasFinished) this.finish({});
    this.sink.push({ type: 'end' });
    return this.sink.take();
  }

  private start({ id, model, created_at: created }: JsonObject): void {
    this.hasStarted = true;
    this.sink.push({
      type: 'start',
      id: textOf(id),
      model: textOf(model),
      ...(typeof created === 'number' ? { createdSeconds: created } : {}),
    });
  }

  private readPiece(type: string, frame: JsonObject): void {
    const { blocks } = this;
    const item = indexOf(frame.output_index);
    switch (type) {
      case 'response.output_item.added':
        if (isObject(frame.item)) blocks.open(item, frame.item);
        break;
      case 'response.output_item.done':
        if (isObject(frame.item)) blocks.close(item, frame.item);
        break;
      case 'response.content_part.added':
      case 'response.content_part.done':
        if (!isObject(frame.part)) break;
        if (type.endsWith('added')) blocks.openPart(item, indexOf(frame.content_index), frame.part);
        else blocks.closePart(item, indexOf(frame.content_index), frame.part);
        break;
      case 'response.output_text.delta':
        blocks.add({ item, part: indexOf(frame.content_index), kind: 'text' }, frame.delta);
        break;
      case 'response.refusal.delta':
        blocks.add({ item, part: indexOf(frame.content_index), kind: 'refusal' }, frame.delta);
        break;
      case 'response.output_text.annotation.added':
        blocks.cite(item, indexOf(frame.content_index), frame.annotation);
        break;
      case 'response.reasoning_summary_text.delta':
        blocks.think(item, { isSummary: true, part: indexOf(frame.summary_index) }, frame.delta);
        break;
      case 'response.reasoning_text.delta':
        blocks.think(item, { isSummary: false, part: indexOf(frame.content_index) }, frame.delta);
        break;
      case 'response.function_call_arguments.delta':
      case 'response.custom_tool_call_input.delta':
        blocks.addArguments(item, frame.delta);
        break;
      case 'response.function_call_arguments.done':
        blocks.completeArguments(item, frame.arguments);
        break;
      case 'response.custom_tool_call_input.done':
        blocks.completeArguments(item, frame.input);
        break;
      default:
    }
  }

  private finish(response: JsonObject): void {
    this.hasFinished = true;
    // Of a provider that streams no items, or a whole response: what it says at its end is all there is.
    if (isArray(response.output) && !this.blocks.hasAny) {
      for (const [index, item] of response.output.entries()) {
        if (!isObject(item)) continue;
        this.blocks.open(index, item);
        this.blocks.close(index, item);
      }
    }
    this.blocks.closeAll();
    this.sink.push({ type: 'finish', reason: this.reasonOf(response) });
    const tokens = usageFromResponses(response.usage);
    if (tokens) this.sink.push({ type: 'usage', tokens });
  }

  private reasonOf({ status, incomplete_details: details }: JsonObject): NeutralFinishReason {
    const why = isObject(details) ? details.reason : undefined;
    if (why === 'content_filter') return 'content_filter';
    if (why !== undefined || status === 'incomplete') return 'length';
    if (this.blocks.hasRefusal) return 'refusal';
    return this.blocks.hasToolCall ? 'tool_calls' : 'stop';
  }
}

/** The events of a whole response, as if it had been streamed. */
export function parseWholeResponse(response: JsonObject): readonly NeutralEvent[] {
  const parser = new ResponseEventParser();
  return [
    ...parser.parse({ type: 'response.created', response }),
    ...parser.parse({ type: 'response.completed', response }),
    ...parser.end(),
  ];
}

function indexOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
