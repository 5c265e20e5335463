import { type Refusal } from '../../../kernel/errors';
import { invalid } from '../invalid-request';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isAbsent, isArray } from '../json-value';
import { imagesOfPdf } from '../pdf-pages';
import { BYTES_OF_UNREAD_DOCUMENT } from '../unseen-text';

/** What the messages carry beside text, for the estimate. */
export interface MessageMeasure {
  /** Images, and what pages of documents come to. */
  images: number;
  /** Length of data of images and documents: they are priced by the piece, not by the byte. */
  mediaDataBytes: number;
  /** Of documents that only the provider can read, as text. */
  unseenTextBytes: number;
  /** Recordings, also those at a URL and earlier spoken answers that are named by their id. */
  audioParts: number;
  /** Length of base64 data and `data:` URLs of recordings: they are priced by their length in time. */
  audioDataBytes: number;
}

/**
 * Checks only what Tollgate itself relies on (shapes of messages, contents, parts and tool calls); everything else is the
 * provider's to judge. Adds what it sees to `measure`.
 */
export function checkMessages(messages: unknown, measure: MessageMeasure): Refusal | undefined {
  if (!isArray(messages)) return invalid('messages', 'must be an array');
  if (messages.length === 0) return invalid('messages', 'must not be empty');
  for (let index = 0; index < messages.length; index++) {
    const refusal = checkMessage(messages[index], index, measure);
    if (refusal) return refusal;
  }
  return undefined;
}

function checkMessage(message: unknown, index: number, measure: MessageMeasure): Refusal | undefined {
  if (!isObject(message)) return invalid(`messages[${index}]`, 'must be an object');
  if (typeof message.role !== 'string') return invalid(`messages[${index}].role`, 'must be a string');
  if (!isAbsent(message.audio)) measure.audioParts++;
  const content = message.content;
  if (typeof content !== 'string' && !isAbsent(content)) {
    if (!isArray(content)) return invalid(`messages[${index}].content`, 'must be a string or an array of parts');
    for (let part = 0; part < content.length; part++) {
      const refusal = checkPart(content[part], `messages[${index}].content[${part}]`, measure);
      if (refusal) return refusal;
    }
  }
  const toolCalls = message.tool_calls;
  if (isAbsent(toolCalls)) return undefined;
  if (!isArray(toolCalls)) return invalid(`messages[${index}].tool_calls`, 'must be an array');
  const odd = toolCalls.findIndex((call) => !isObject(call));
  return odd < 0 ? undefined : invalid(`messages[${index}].tool_calls[${odd}]`, 'must be an object');
}

function checkPart(part: unknown, path: string, measure: MessageMeasure): Refusal | undefined {
  if (!isObject(part)) return invalid(path, 'must be an object');
  if (typeof part.type !== 'string') return invalid(`${path}.type`, 'must be a string');
  if (part.type === 'text' && typeof part.text !== 'string') return invalid(`${path}.text`, 'must be a string');
  if (part.type === 'file') measureFile(part.file, measure);
  if (part.type === 'input_audio' || part.type === 'audio_url') measureAudio(part[part.type], measure);
  if (part.type !== 'image_url') return undefined;
  const url = imageUrlOf(part);
  if (url === undefined) return invalid(`${path}.image_url.url`, 'must be a string');
  measure.images++;
  if (url.startsWith('data:')) measure.mediaDataBytes += url.length;
  return undefined;
}

/** Text is counted as text, a PDF by its pages; what is neither data nor an id is the provider's to judge. */
function measureFile(file: unknown, measure: MessageMeasure): void {
  if (!isObject(file)) return;
  const { file_data: data, file_id: id } = file;
  if (typeof data !== 'string') {
    if (!isAbsent(id)) measure.unseenTextBytes += BYTES_OF_UNREAD_DOCUMENT;
  } else if (!data.startsWith('data:text/')) {
    measure.images += imagesOfPdf(data.slice(data.indexOf(',') + 1));
    measure.mediaDataBytes += data.length;
  }
}

/** `{data, format}`, or `{url}` as some providers take it; what is neither is the provider's to judge. */
function measureAudio(audio: unknown, measure: MessageMeasure): void {
  measure.audioParts++;
  if (!isObject(audio)) return;
  const { data, url } = audio;
  if (typeof data === 'string') measure.audioDataBytes += data.length;
  if (typeof url === 'string' && url.startsWith('data:')) measure.audioDataBytes += url.length;
}

/** `{image_url: {url}}`, or `{image_url: "…"}` as some clients send it. */
function imageUrlOf(part: JsonObject): string | undefined {
  const image = part.image_url;
  const url = isObject(image) ? image.url : image;
  return typeof url === 'string' ? url : undefined;
}
