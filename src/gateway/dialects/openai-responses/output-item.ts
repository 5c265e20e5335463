import type { JsonObject } from '../../../kernel/json-object';
import { inputOfArguments } from '../neutral/custom-tool';
import type { NeutralCitation } from '../neutral/neutral-event';

export type ItemStatus = 'in_progress' | 'completed' | 'incomplete';

/** One item of a response while it is written: its frames in OpenAI's order, but for their sequence number. */
export interface OutputItem {
  begin(): readonly JsonObject[];
  add(text: string): readonly JsonObject[];
  end(status: ItemStatus): readonly JsonObject[];
  /** As it stands. */
  readonly json: JsonObject;
}

/** Where an item stands, which all its frames say. */
export interface ItemPlace {
  readonly item_id: string;
  readonly output_index: number;
}

const added = ({ output_index }: ItemPlace, item: JsonObject): JsonObject => ({
  type: 'response.output_item.added',
  output_index,
  item,
});

const done = ({ output_index }: ItemPlace, item: JsonObject): JsonObject => ({
  type: 'response.output_item.done',
  output_index,
  item,
});

/** Text or a refusal: a message with one part. */
export class MessageItem implements OutputItem {
  private readonly citations: NeutralCitation[] = [];
  private text = '';
  private status: ItemStatus = 'in_progress';

  constructor(
    private readonly place: ItemPlace,
    private readonly kind: 'text' | 'refusal',
  ) {}

  get json(): JsonObject {
    return this.message(this.status === 'in_progress' ? [] : [this.part]);
  }

  begin(): readonly JsonObject[] {
    return [
      added(this.place, this.json),
      { type: 'response.content_part.added', ...this.place, content_index: 0, part: this.part },
    ];
  }

  add(delta: string): readonly JsonObject[] {
    this.text += delta;
    const where = { ...this.place, content_index: 0, delta };
    return this.kind === 'text'
      ? [{ type: 'response.output_text.delta', ...where, logprobs: [] }]
      : [{ type: 'response.refusal.delta', ...where }];
  }

  /** Told with the end, when it is known how long the text is that they belong to. */
  cite(citation: NeutralCitation): void {
    this.citations.push(citation);
  }

  end(status: ItemStatus): readonly JsonObject[] {
    this.status = status;
    const where = { ...this.place, content_index: 0 };
    const annotations = this.annotations.map((annotation, annotation_index) => ({
      type: 'response.output_text.annotation.added',
      ...where,
      annotation_index,
      annotation,
    }));
    const written =
      this.kind === 'text'
        ? { type: 'response.output_text.done', ...where, text: this.text, logprobs: [] }
        : { type: 'response.refusal.done', ...where, refusal: this.text };
    return [
      ...annotations,
      written,
      { type: 'response.content_part.done', ...where, part: this.part },
      done(this.place, this.json),
    ];
  }

  private get part(): JsonObject {
    return this.kind === 'text'
      ? { type: 'output_text', text: this.text, annotations: this.annotations, logprobs: [] }
      : { type: 'refusal', refusal: this.text };
  }

  private get annotations(): readonly JsonObject[] {
    const span = { start_index: 0, end_index: this.text.length };
    return this.citations.map(({ url, title }) => ({ type: 'url_citation', url, title: title ?? url, ...span }));
  }

  private message(content: readonly JsonObject[]): JsonObject {
    return { id: this.place.item_id, type: 'message', status: this.status, content, role: 'assistant' };
  }
}

/** What was thought, as a summary: clients of this dialect show nothing else of it. */
export class ReasoningItem implements OutputItem {
  private text: string | undefined;

  constructor(
    private readonly place: ItemPlace,
    private encryptedContent: string | undefined,
  ) {}

  get json(): JsonObject {
    return {
      id: this.place.item_id,
      type: 'reasoning',
      summary: this.text === undefined ? [] : [{ type: 'summary_text', text: this.text }],
      ...(this.encryptedContent === undefined ? {} : { encrypted_content: this.encryptedContent }),
    };
  }

  begin(): readonly JsonObject[] {
    return [added(this.place, this.json)];
  }

  add(delta: string): readonly JsonObject[] {
    const where = { ...this.place, summary_index: 0 };
    const part = { type: 'summary_text', text: '' };
    const opening = this.text === undefined ? [{ type: 'response.reasoning_summary_part.added', ...where, part }] : [];
    this.text = (this.text ?? '') + delta;
    return [...opening, { type: 'response.reasoning_summary_text.delta', ...where, delta }];
  }

  sign(signature: string): void {
    this.encryptedContent = signature;
  }

  end(): readonly JsonObject[] {
    const { text } = this;
    if (text === undefined) return [done(this.place, this.json)];
    const where = { ...this.place, summary_index: 0 };
    return [
      { type: 'response.reasoning_summary_text.done', ...where, text },
      { type: 'response.reasoning_summary_part.done', ...where, part: { type: 'summary_text', text } },
      done(this.place, this.json),
    ];
  }
}

export interface CalledTool {
  readonly callId: string;
  readonly name: string;
  readonly namespace?: string;
}

export class FunctionCallItem implements OutputItem {
  private text = '';
  private status: ItemStatus = 'in_progress';

  constructor(
    private readonly place: ItemPlace,
    private readonly call: CalledTool,
  ) {}

  get json(): JsonObject {
    const { item_id: id } = this.place;
    const { callId: call_id, ...names } = this.call;
    return { id, type: 'function_call', status: this.status, arguments: this.text, call_id, ...names };
  }

  begin(): readonly JsonObject[] {
    return [added(this.place, this.json)];
  }

  add(delta: string): readonly JsonObject[] {
    this.text += delta;
    return [{ type: 'response.function_call_arguments.delta', ...this.place, delta }];
  }

  end(status: ItemStatus): readonly JsonObject[] {
    // Clients parse them, and nothing is no JSON.
    const opening = this.text === '' ? this.add('{}') : [];
    this.status = status;
    const { name } = this.call;
    return [
      ...opening,
      { type: 'response.function_call_arguments.done', ...this.place, arguments: this.text, name },
      done(this.place, this.json),
    ];
  }
}

export class CustomCallItem implements OutputItem {
  private input = '';
  private args = '';
  private status: ItemStatus = 'in_progress';

  /** @param isWrapped what comes are the arguments of a function that stands for the tool */
  constructor(
    private readonly place: ItemPlace,
    private readonly call: CalledTool,
    private readonly isWrapped: boolean,
  ) {}

  get json(): JsonObject {
    const { item_id: id } = this.place;
    const { callId: call_id, ...names } = this.call;
    return { id, type: 'custom_tool_call', status: this.status, input: this.input, call_id, ...names };
  }

  begin(): readonly JsonObject[] {
    return [added(this.place, this.json)];
  }

  add(delta: string): readonly JsonObject[] {
    if (!this.isWrapped) return this.write(delta);
    this.args += delta;
    return [];
  }

  end(status: ItemStatus): readonly JsonObject[] {
    const unwrapped = this.isWrapped && this.args !== '' ? this.write(inputOfArguments(this.args)) : [];
    this.status = status;
    return [
      ...unwrapped,
      { type: 'response.custom_tool_call_input.done', ...this.place, input: this.input },
      done(this.place, this.json),
    ];
  }

  private write(delta: string): readonly JsonObject[] {
    this.input += delta;
    return [{ type: 'response.custom_tool_call_input.delta', ...this.place, delta }];
  }
}
