import type { TokenCounts } from '../../../catalogue/price';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { EventParser } from '../dialect';
import { isArray, textOf } from '../json-value';
import { EventSink } from '../neutral/event-sink';
import type { NeutralBlock, NeutralEvent } from '../neutral/neutral-event';
import { finishReasonOf } from './chat-finish';
import { ChatToolCalls } from './chat-tool-calls';
import { usageFromOpenAi } from './usage';

/** The block that is being written beside tool calls. */
interface Prose {
  readonly kind: 'text' | 'refusal' | 'reasoning';
  readonly block: number;
  /** Of a reasoning block: its place among `reasoning_details`, if it has one. */
  readonly detailIndex?: number | undefined;
  /** Its text came in `reasoning_content`; what `reasoning_details` say of it is the same once more. */
  isPlain: boolean;
}

/**
 * The first choice of a stream of `chat.completion.chunk` objects. Its end is told last of all, whenever the provider
 * told it: some tell the reason with the last piece of text, some send empty pieces after it.
 */
export class ChatEventParser implements EventParser {
  private readonly sink = new EventSink();
  private readonly calls = new ChatToolCalls(this.sink);
  private prose: Prose | undefined;
  private answerId = '';
  private isStarted = false;
  private hasRefusal = false;
  private finishReason: string | undefined;
  private usage: TokenCounts | undefined;

  parse(frame: JsonObject): readonly NeutralEvent[] {
    this.usage = usageFromOpenAi(frame.usage) ?? this.usage;
    const choices = isArray(frame.choices) ? frame.choices : [];
    const choice = choices.find((candidate) => isObject(candidate) && (candidate.index ?? 0) === 0);
    if (isObject(choice)) {
      this.start(frame);
      if (isObject(choice.delta)) this.addDelta(choice.delta);
      if (typeof choice.finish_reason === 'string') this.finishReason = choice.finish_reason;
    }
    return this.sink.take();
  }

  end(): readonly NeutralEvent[] {
    this.start({});
    this.closeProse();
    this.calls.end(this.answerId);
    const reason = finishReasonOf(this.finishReason, this.calls.hasCalls, this.hasRefusal);
    this.sink.push({ type: 'finish', reason });
    if (this.usage) this.sink.push({ type: 'usage', tokens: this.usage });
    this.sink.push({ type: 'end' });
    return this.sink.take();
  }

  private start({ id, model, created }: JsonObject): void {
    if (this.isStarted) return;
    this.isStarted = true;
    this.answerId = textOf(id);
    const createdSeconds = typeof created === 'number' ? { createdSeconds: created } : {};
    this.sink.push({ type: 'start', id: this.answerId, model: textOf(model), ...createdSeconds });
  }

  private addDelta(delta: JsonObject): void {
    this.addReasoning(delta);
    this.addContent(delta.content);
    for (const annotation of listOf(delta.annotations)) this.addAnnotation(annotation);
    if (isText(delta.refusal)) {
      this.hasRefusal = true;
      this.write('refusal', delta.refusal);
    }
    if (isObject(delta.function_call)) this.addCall({ index: -1, function: delta.function_call });
    for (const piece of listOf(delta.tool_calls)) this.addCall(piece);
  }

  private addCall(piece: unknown): void {
    if (!isObject(piece)) return;
    this.closeProse();
    this.calls.add(piece, this.answerId);
  }

  /** Mistral's reasoning models write a list of parts. */
  private addContent(content: unknown): void {
    if (isText(content)) this.write('text', content);
    for (const part of listOf(content)) {
      if (!isObject(part)) continue;
      if (isText(part.text)) this.write('text', part.text);
      for (const thought of listOf(part.thinking)) {
        if (isObject(thought) && isText(thought.text)) this.write('reasoning', thought.text);
      }
    }
  }

  /** One thought under two names, and with what proves it in a list of its own. */
  private addReasoning({ reasoning_content, reasoning, reasoning_details }: JsonObject): void {
    const details = listOf(reasoning_details).filter(isObject);
    const plain = reasoning_content ?? reasoning;
    if (isText(plain) && !details.some((detail) => isText(detail.text) || isText(detail.summary))) {
      this.write('reasoning', plain);
    }
    for (const detail of details) this.addDetail(detail);
  }

  private addDetail(detail: JsonObject): void {
    const { type, data, signature } = detail;
    const id = isText(detail.id) ? { id: detail.id } : {};
    if (type === 'reasoning.encrypted') {
      if (!isText(data)) return;
      this.closeProse();
      this.calls.settle(this.answerId);
      this.sink.close(this.sink.open({ kind: 'redacted_reasoning', data, ...id }));
      return;
    }
    const isSummary = type === 'reasoning.summary';
    const prose = this.thought({ kind: 'reasoning', isSummary, ...id }, detail.index);
    const text = detail.text ?? detail.summary;
    if (isText(text) && !prose.isPlain) this.sink.delta(prose.block, text);
    if (!isText(signature)) return;
    this.sink.push({ type: 'signature', block: prose.block, signature });
    this.closeProse();
  }

  /** The reasoning block that a detail speaks of: the one being written, unless it is another's. */
  private thought(content: NeutralBlock, index: unknown): Prose {
    const detailIndex = typeof index === 'number' ? index : undefined;
    const open = this.prose;
    const isSame = open?.detailIndex === undefined || detailIndex === undefined || open.detailIndex === detailIndex;
    if (open?.kind === 'reasoning' && isSame) return open;
    return this.begin({ kind: 'reasoning', block: this.openBlock(content), detailIndex, isPlain: false });
  }

  private addAnnotation(annotation: unknown): void {
    const cited = isObject(annotation) ? annotation.url_citation : undefined;
    if (!isObject(cited) || !isText(cited.url)) return;
    const { block } = this.proseOf('text');
    const title = isText(cited.title) ? { title: cited.title } : {};
    const citedText = isText(cited.content) ? { citedText: cited.content } : {};
    this.sink.push({ type: 'citation', block, citation: { url: cited.url, ...title, ...citedText } });
  }

  private write(kind: Prose['kind'], text: string): void {
    const prose = this.proseOf(kind);
    prose.isPlain = true;
    this.sink.delta(prose.block, text);
  }

  private proseOf(kind: Prose['kind']): Prose {
    if (this.prose?.kind === kind) return this.prose;
    const block = this.openBlock(kind === 'reasoning' ? { kind, isSummary: false } : { kind });
    return this.begin({ kind, block, isPlain: true });
  }

  private openBlock(content: NeutralBlock): number {
    this.closeProse();
    this.calls.settle(this.answerId);
    return this.sink.open(content);
  }

  private begin(prose: Prose): Prose {
    this.prose = prose;
    return prose;
  }

  private closeProse(): void {
    if (this.prose) this.sink.close(this.prose.block);
    this.prose = undefined;
  }
}

/** The events of a whole `chat.completion`, as if it had been streamed in one piece. */
export function eventsOfCompletion(body: JsonObject): readonly NeutralEvent[] {
  const parser = new ChatEventParser();
  const choices = listOf(body.choices).map((choice) =>
    isObject(choice) ? { ...choice, delta: choice.message } : choice,
  );
  return [...parser.parse({ ...body, choices }), ...parser.end()];
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function listOf(value: unknown): readonly unknown[] {
  return isArray(value) ? value : [];
}
