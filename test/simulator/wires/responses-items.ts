import { type Answer, type Reasoning } from '../answer';
import { type CalledTool, piecesOf } from '../tools';

/** One event of a stream, before it has its sequence number. */
export interface ItemEvent {
  readonly type: string;
  readonly fields: object;
  readonly isContent?: boolean;
  /** Of the answer's text. */
  readonly text?: string;
}

/** An output item: as it stands at first, what is told of it, and whole. */
export interface OutputItem {
  readonly opening: object;
  readonly events: readonly ItemEvent[];
  readonly whole: object;
}

/** Thoughts, text or refusal, calls: in the order in which a model makes them. */
export function outputItems(answer: Answer): OutputItem[] {
  const { serial, reasoning } = answer;
  const { redacted } = reasoning;
  const isSaid = answer.pieces.length > 0 || answer.refusal !== undefined;
  const sealed = { id: `rs_sim_${serial}_r`, type: 'reasoning', summary: [], encrypted_content: redacted };
  return [
    ...(redacted === undefined ? [] : [{ opening: sealed, events: [], whole: sealed }]),
    ...(reasoning.pieces.length > 0 || reasoning.signature !== undefined ? [reasoningItem(serial, reasoning)] : []),
    ...(isSaid ? [messageItem(answer)] : []),
    ...answer.toolCalls.map((call, index) => callItem(call, `${serial}_${index}`)),
  ];
}

function reasoningItem(serial: number, { pieces, signature, isRaw }: Reasoning): OutputItem {
  const id = `rs_sim_${serial}`;
  const text = pieces.join('');
  const sealed = signature === undefined ? {} : { encrypted_content: signature };
  const name = isRaw ? 'reasoning_text' : 'reasoning_summary_text';
  const place = { item_id: id, ...(isRaw ? { content_index: 0 } : { summary_index: 0 }) };
  const part = (said: string): object => ({ type: isRaw ? 'reasoning_text' : 'summary_text', text: said });
  const partName = isRaw ? 'response.content_part' : 'response.reasoning_summary_part';
  const parts = text === '' ? [] : [part(text)];
  const events: ItemEvent[] = [
    { type: `${partName}.added`, fields: { ...place, part: part('') } },
    ...pieces.map((delta) => ({ type: `response.${name}.delta`, fields: { ...place, delta }, isContent: true })),
    { type: `response.${name}.done`, fields: { ...place, text } },
    { type: `${partName}.done`, fields: { ...place, part: part(text) } },
  ];
  return {
    opening: { id, type: 'reasoning', summary: [], ...sealed },
    events: text === '' ? [] : events,
    whole: {
      id,
      type: 'reasoning',
      summary: isRaw ? [] : parts,
      ...(isRaw ? { content: parts } : {}),
      ...sealed,
    },
  };
}

function messageItem(answer: Answer): OutputItem {
  const id = `msg_sim_${answer.serial}`;
  const place = { item_id: id, content_index: 0 };
  const said = answer.refusal ? refusalPart(answer.refusal) : textPart(answer);
  return {
    opening: { id, type: 'message', status: 'in_progress', role: 'assistant', content: [] },
    events: [
      { type: 'response.content_part.added', fields: { part: said.opening } },
      ...said.events,
      { type: 'response.content_part.done', fields: { part: said.whole } },
    ].map((event) => ({ ...event, fields: { ...place, ...event.fields } })),
    whole: { id, type: 'message', status: 'completed', role: 'assistant', content: [said.whole] },
  };
}

function textPart({ pieces, citations }: Answer): OutputItem {
  const text = pieces.join('');
  const annotations = citations.map(({ url, title }) => ({
    type: 'url_citation',
    url,
    title,
    start_index: 0,
    end_index: text.length,
  }));
  const whole = { type: 'output_text', annotations, logprobs: [], text };
  return {
    opening: { ...whole, annotations: [], text: '' },
    events: [
      ...pieces.map((delta) => ({
        type: 'response.output_text.delta',
        fields: { delta, logprobs: [] },
        isContent: true,
        text: delta,
      })),
      ...annotations.map((annotation, annotation_index) => ({
        type: 'response.output_text.annotation.added',
        fields: { annotation_index, annotation },
      })),
      { type: 'response.output_text.done', fields: { text, logprobs: [] } },
    ],
    whole,
  };
}

function refusalPart(pieces: readonly string[]): OutputItem {
  const refusal = pieces.join('');
  return {
    opening: { type: 'refusal', refusal: '' },
    events: [
      ...pieces.map((delta) => ({ type: 'response.refusal.delta', fields: { delta }, isContent: true })),
      { type: 'response.refusal.done', fields: { refusal } },
    ],
    whole: { type: 'refusal', refusal },
  };
}

function callItem(call: CalledTool, serial: string): OutputItem {
  const { id: callId, name, arguments: input, isCustom } = call;
  const id = isCustom ? `ctc_sim_${serial}` : `fc_sim_${serial}`;
  const events = isCustom ? 'response.custom_tool_call_input' : 'response.function_call_arguments';
  const item = (text: string, status: string): object =>
    isCustom
      ? { id, type: 'custom_tool_call', call_id: callId, name, input: text, status }
      : { id, type: 'function_call', call_id: callId, name, arguments: text, status };
  return {
    opening: item('', 'in_progress'),
    events: [
      ...piecesOf(input).map((delta) => ({
        type: `${events}.delta`,
        fields: { item_id: id, delta },
        isContent: true,
      })),
      {
        type: `${events}.done`,
        fields: { item_id: id, ...(isCustom ? { input } : { name, arguments: input }) },
      },
    ],
    whole: item(input, 'completed'),
  };
}
