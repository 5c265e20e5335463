import { type Refusal } from '../../../kernel/errors';
import type { JsonObject } from '../../../kernel/json-object';
import { invalid, isRefusal } from '../invalid-request';
import { argumentsOfInput } from '../neutral/custom-tool';
import type {
  NeutralAssistantPart,
  NeutralDocument,
  NeutralImage,
  NeutralMessage,
  NeutralReasoningPart,
  NeutralRequest,
  NeutralText,
  NeutralToolCall,
  NeutralToolResult,
  NeutralUserPart,
} from '../neutral/neutral-request';

/** Between texts that were parts of their own: many providers take nothing but a string. */
const BETWEEN_TEXTS = '\n\n';

type SentPart = Exclude<NeutralUserPart, NeutralToolResult>;

/**
 * The messages as chat has them: results of tools are messages that must follow the call at once, and are text; pictures
 * and files in them are sent by the user right after.
 * @param showsThoughts whether the provider may know earlier thoughts; OpenAI's own API refuses them
 */
export function renderMessages(
  { instructions, messages }: Pick<NeutralRequest, 'instructions' | 'messages'>,
  showsThoughts: boolean,
): readonly JsonObject[] | Refusal {
  const rendered: JsonObject[] = [];
  if (instructions.length > 0) rendered.push({ role: 'system', content: textOf(instructions) });
  for (const turn of turnsOf(messages)) {
    const part = renderTurn(turn, showsThoughts);
    if (isRefusal(part)) return part;
    rendered.push(...part);
  }
  return rendered;
}

/** Messages of one role in a row, which are one turn. */
function turnsOf(messages: readonly NeutralMessage[]): readonly NeutralMessage[][] {
  const turns: NeutralMessage[][] = [];
  for (const message of messages) {
    const turn = turns.at(-1);
    if (turn?.[0]?.role === message.role) turn.push(message);
    else turns.push([message]);
  }
  return turns;
}

function renderTurn(turn: readonly NeutralMessage[], showsThoughts: boolean): readonly JsonObject[] | Refusal {
  const [first] = turn;
  switch (first?.role) {
    case 'system':
      return turn.flatMap((message) =>
        message.role === 'system' ? [{ role: 'system', content: textOf(message.content) }] : [],
      );
    case 'assistant':
      return [
        renderAssistant(
          turn.flatMap((message) => (message.role === 'assistant' ? message.content : [])),
          showsThoughts,
        ),
      ];
    case 'user':
      return renderUser(turn.filter((message) => message.role === 'user'));
    case undefined:
      return [];
  }
}

function renderUser(turn: readonly Extract<NeutralMessage, { role: 'user' }>[]): readonly JsonObject[] | Refusal {
  const results = turn.flatMap(({ content }) => content.filter((part) => part.type === 'tool_result'));
  const rendered = results.map(renderResult);
  const shown = results.flatMap(mediaOf);
  const said = turn
    .map(({ content, name }) => ({ name, content: content.filter((part) => part.type !== 'tool_result') }))
    .filter(({ content }) => content.length > 0 || results.length === 0);
  const together = { name: undefined, content: [...shown, ...said.flatMap(({ content }) => content)] };
  for (const { name, content } of shown.length > 0 ? [together] : said) {
    const parts = renderParts(content);
    if (typeof parts === 'object' && isRefusal(parts)) return parts;
    rendered.push({ role: 'user', content: parts, ...(name === undefined ? {} : { name }) });
  }
  return rendered;
}

function renderResult({ callId, content, isError }: NeutralToolResult): JsonObject {
  const text = textOf(content.filter((part) => part.type === 'text'));
  const hasMedia = content.some((part) => part.type !== 'text');
  const said = [isError === true ? `Error: ${text}` : text, ...(hasMedia ? ['(shown in the next message)'] : [])];
  return { role: 'tool', tool_call_id: callId, content: said.filter((line) => line !== '').join(BETWEEN_TEXTS) };
}

/** What a result shows, with a word on whose it is. */
function mediaOf({ callId, content }: NeutralToolResult): readonly SentPart[] {
  const media = content.filter((part) => part.type !== 'text');
  return media.length > 0 ? [{ type: 'text', text: `From the result of ${callId}:` }, ...media] : [];
}

function renderParts(parts: readonly SentPart[]): string | readonly JsonObject[] | Refusal {
  const texts = parts.filter((part) => part.type === 'text');
  if (texts.length === parts.length) return textOf(texts);
  const rendered: JsonObject[] = [];
  for (const part of parts) {
    if (part.type === 'text' && part.text === '') continue;
    const one = renderPart(part);
    if (isRefusal(one)) return one;
    rendered.push(one);
  }
  return rendered;
}

function renderPart(part: SentPart): JsonObject | Refusal {
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text };
    case 'image':
      return renderImage(part);
    case 'document':
      return renderDocument(part);
    case 'audio':
      return { type: 'input_audio', input_audio: { data: part.data, format: part.format } };
  }
}

function renderImage({ source, detail, path }: NeutralImage): JsonObject | Refusal {
  if (source.type === 'file')
    return invalid(path, 'must be an image by its URL or data: the provider keeps no such file');
  const url = source.type === 'url' ? source.url : `data:${source.mediaType};base64,${source.data}`;
  return { type: 'image_url', image_url: { url, ...(detail === undefined ? {} : { detail }) } };
}

/** Text is text, whatever file it was in. */
function renderDocument({ source, filename, path }: NeutralDocument): JsonObject | Refusal {
  switch (source.type) {
    case 'text':
      return titled(source.text, filename);
    case 'url':
      return invalid(path, 'must be a document by its data: the provider of this model takes no URL');
    case 'file':
      return { type: 'file', file: { file_id: source.fileId } };
    case 'base64': {
      const { mediaType, data } = source;
      if (mediaType.startsWith('text/')) return titled(Buffer.from(data, 'base64').toString('utf8'), filename);
      const file_data = `data:${mediaType};base64,${data}`;
      return { type: 'file', file: { filename: filename ?? 'document.pdf', file_data } };
    }
  }
}

function titled(text: string, filename: string | undefined): JsonObject {
  return { type: 'text', text: filename === undefined ? text : `${filename}:\n${text}` };
}

function renderAssistant(parts: readonly NeutralAssistantPart[], showsThoughts: boolean): JsonObject {
  const texts = parts.filter((part) => part.type === 'text').map(({ text }) => text);
  const refusals = parts.filter((part) => part.type === 'refusal').map(({ text }) => text);
  const calls = parts.filter((part) => part.type === 'tool_call');
  const thoughts = showsThoughts ? parts.filter((part) => part.type === 'reasoning') : [];
  const hasNoText = texts.length === 0 && (calls.length > 0 || refusals.length > 0);
  return {
    role: 'assistant',
    content: hasNoText ? null : texts.join(''),
    ...(refusals.length > 0 ? { refusal: refusals.join('') } : {}),
    ...renderThoughts(thoughts),
    ...(calls.length > 0 ? { tool_calls: calls.map(renderCall) } : {}),
  };
}

function renderThoughts(thoughts: readonly NeutralReasoningPart[]): JsonObject {
  const text = thoughts.map((thought) => thought.text).join('');
  const details = thoughts.filter(({ signature }) => signature !== undefined).map(renderDetail);
  return {
    ...(text === '' ? {} : { reasoning_content: text }),
    ...(details.length > 0 ? { reasoning_details: details } : {}),
  };
}

function renderDetail({ text, signature, isRedacted, id }: NeutralReasoningPart, index: number): JsonObject {
  const said =
    isRedacted === true
      ? { type: 'reasoning.encrypted', data: signature }
      : { type: 'reasoning.text', text, signature };
  return { ...said, ...(id === undefined ? {} : { id }), index };
}

function renderCall({ callId, kind, name, arguments: text }: NeutralToolCall): JsonObject {
  return {
    id: callId,
    type: 'function',
    function: { name, arguments: kind === 'custom' ? argumentsOfInput(text) : text },
  };
}

function textOf(texts: readonly NeutralText[]): string {
  return texts
    .map(({ text }) => text)
    .filter((text) => text !== '')
    .join(BETWEEN_TEXTS);
}
