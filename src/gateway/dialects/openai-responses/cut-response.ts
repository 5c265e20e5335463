import type { TokenCounts } from '../../../catalogue/price';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isArray, textOf } from '../json-value';
import { responsesUsageOf } from './usage';

/** By the type of what is written, a part of an item or a call: the member its text is in, and the frames that bring it. */
const TEXTS: Readonly<Record<string, { readonly member: string; readonly frames: string }>> = {
  output_text: { member: 'text', frames: 'response.output_text' },
  refusal: { member: 'refusal', frames: 'response.refusal' },
  reasoning_text: { member: 'text', frames: 'response.reasoning_text' },
  summary_text: { member: 'text', frames: 'response.reasoning_summary_text' },
  function_call: { member: 'arguments', frames: 'response.function_call_arguments' },
  custom_tool_call: { member: 'input', frames: 'response.custom_tool_call_input' },
};

/** By the model; tools that the provider runs are not incomplete, they failed. */
const WRITTEN = new Set<unknown>(['message', 'reasoning', 'function_call', 'custom_tool_call']);

type Changing = Record<string, unknown>;

interface OpenItem {
  readonly item: Changing;
  /** Parts that have not been ended, by list and index. */
  readonly openParts: Map<string, OpenPart>;
  readonly isOpen: boolean;
}

interface OpenPart {
  readonly list: 'content' | 'summary';
  readonly index: number;
  readonly part: Changing;
}

/** What a client of the same dialect has been sent of a response, frame by frame, for the end of one that is cut. */
class SentResponse {
  response: JsonObject = {};
  sequence = -1;
  readonly items = new Map<number, OpenItem>();

  add(frame: JsonObject): void {
    if (isObject(frame.response)) this.response = frame.response;
    if (typeof frame.sequence_number === 'number') this.sequence = frame.sequence_number;
    const index = frame.output_index;
    if (typeof index !== 'number') return;
    if (frame.type === 'response.output_item.added' || frame.type === 'response.output_item.done') {
      if (!isObject(frame.item)) return;
      const isOpen = frame.type === 'response.output_item.added';
      this.items.set(index, { item: { ...frame.item }, openParts: new Map(), isOpen });
      return;
    }
    const open = this.items.get(index);
    if (open?.isOpen) addToItem(open, frame);
  }
}

function addToItem({ item, openParts }: OpenItem, frame: JsonObject): void {
  const list = typeof frame.summary_index === 'number' ? 'summary' : 'content';
  const at = frame.summary_index ?? frame.content_index;
  const place = `${list} ${String(at)}`;
  const written = at === undefined ? item : openParts.get(place)?.part;
  const text = written && TEXTS[String(written.type)];
  if (text && frame.type === `${text.frames}.delta`) {
    written[text.member] = textOf(written[text.member]) + textOf(frame.delta);
  } else if (text && frame.type === `${text.frames}.done`) {
    written[text.member] = frame[text.member];
  } else if (typeof at === 'number' && isObject(frame.part)) {
    const part: Changing = { ...frame.part };
    const parts = isArray(item[list]) ? [...item[list]] : [];
    parts[at] = part;
    item[list] = parts;
    if (String(frame.type).endsWith('_part.added')) openParts.set(place, { list, index: at, part });
    else openParts.delete(place);
  }
}

/**
 * The end of a response that reached its maximum where it was cut: what is open is ended, then comes
 * `response.incomplete` with all that was sent of it and the usage that was billed.
 * @param sent every frame so far, in order
 */
export function cutResponse(
  sent: readonly JsonObject[],
  billed: TokenCounts | undefined,
): { readonly ends: readonly JsonObject[]; readonly terminal: JsonObject } {
  const told = new SentResponse();
  for (const frame of sent) told.add(frame);
  const frames = [...told.items].flatMap(([index, open]) => (open.isOpen ? endsOf(index, open) : []));
  const numbered = [...frames, incomplete(told, billed)].map((frame, at) => ({
    ...frame,
    sequence_number: told.sequence + 1 + at,
  }));
  const [terminal = {}] = numbered.splice(-1);
  return { ends: numbered, terminal };
}

function endsOf(output_index: number, { item, openParts }: OpenItem): JsonObject[] {
  const where = { item_id: item.id, output_index };
  const parts = [...openParts.values()].flatMap(({ list, index, part }) => {
    const place = { ...where, [list === 'summary' ? 'summary_index' : 'content_index']: index };
    const type = list === 'summary' ? 'response.reasoning_summary_part.done' : 'response.content_part.done';
    return [...textEnd(part, place), { type, ...place, part }];
  });
  if ('status' in item) item.status = WRITTEN.has(item.type) ? 'incomplete' : 'failed';
  return [...parts, ...textEnd(item, where), { type: 'response.output_item.done', output_index, item }];
}

function textEnd(written: Changing, place: JsonObject): JsonObject[] {
  const text = TEXTS[String(written.type)];
  if (!text) return [];
  const more = { ...(written.type === 'output_text' ? { logprobs: [] } : {}), ...namedIn(written) };
  return [{ type: `${text.frames}.done`, ...place, [text.member]: textOf(written[text.member]), ...more }];
}

function namedIn({ type, name }: Changing): JsonObject {
  return type === 'function_call' ? { name } : {};
}

function incomplete({ response, items }: SentResponse, billed: TokenCounts | undefined): JsonObject {
  const output = [...items].sort(([a], [b]) => a - b).map(([, { item }]) => item);
  return {
    type: 'response.incomplete',
    response: {
      ...response,
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output,
      usage: billed ? responsesUsageOf(billed) : null,
    },
  };
}
