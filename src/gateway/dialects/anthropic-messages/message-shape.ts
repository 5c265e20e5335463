import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { invalid } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import { imagesOfPdf } from '../pdf-pages';
import { BYTES_OF_UNREAD_DOCUMENT } from '../unseen-text';

/** What a request carries beside text, for the estimate. */
export interface MessageMeasure {
  /** Images, and for each page of a document two: it is read as an image and as text. */
  images: number;
  /** Length of base64 data of images and documents: they are priced by the piece, not by the byte. */
  mediaDataBytes: number;
  /** Of documents that only the provider can read, as text. */
  unseenTextBytes: number;
}

/**
 * Checks only what Tollgate itself relies on (shapes of messages, contents and blocks); everything else is the provider's to
 * judge. Adds what it sees to `measure`.
 */
export function checkMessages(messages: unknown, measure: MessageMeasure): Refusal | undefined {
  if (!isArray(messages)) return invalid('messages', 'must be an array');
  if (messages.length === 0) return invalid('messages', 'must not be empty');
  for (let index = 0; index < messages.length; index++) {
    const message = messages[index];
    if (!isObject(message)) return invalid(`messages[${index}]`, 'must be an object');
    if (typeof message.role !== 'string') return invalid(`messages[${index}].role`, 'must be a string');
    const refusal = checkContent(message.content, `messages[${index}].content`, measure);
    if (refusal) return refusal;
  }
  return undefined;
}

/** Text, or blocks of text. */
export function checkSystem(system: unknown): Refusal | undefined {
  if (isAbsent(system) || typeof system === 'string') return undefined;
  if (!isArray(system)) return invalid('system', 'must be a string or an array of text blocks');
  for (let index = 0; index < system.length; index++) {
    const block = system[index];
    if (!isObject(block)) return invalid(`system[${index}]`, 'must be an object');
    if (typeof block.text !== 'string') return invalid(`system[${index}].text`, 'must be a string');
  }
  return undefined;
}

function checkContent(content: unknown, path: string, measure: MessageMeasure): Refusal | undefined {
  if (typeof content === 'string') return undefined;
  if (!isArray(content)) return invalid(path, 'must be a string or an array of content blocks');
  for (let index = 0; index < content.length; index++) {
    const refusal = checkBlock(content[index], `${path}[${index}]`, measure);
    if (refusal) return refusal;
  }
  return undefined;
}

function checkBlock(block: unknown, path: string, measure: MessageMeasure): Refusal | undefined {
  if (!isObject(block)) return invalid(path, 'must be an object');
  switch (block.type) {
    case 'text':
      return typeof block.text === 'string' ? undefined : invalid(`${path}.text`, 'must be a string');
    case 'image':
      return checkImage(block, path, measure);
    case 'document':
      return checkDocument(block, path, measure);
    case 'tool_result':
      return isAbsent(block.content) ? undefined : checkContent(block.content, `${path}.content`, measure);
    default:
      return typeof block.type === 'string' ? undefined : invalid(`${path}.type`, 'must be a string');
  }
}

function checkImage({ source }: JsonObject, path: string, measure: MessageMeasure): Refusal | undefined {
  if (!isObject(source)) return invalid(`${path}.source`, 'must be an object');
  measure.images++;
  if (source.type !== 'base64') return undefined;
  if (typeof source.data !== 'string') return invalid(`${path}.source.data`, 'must be a string');
  measure.mediaDataBytes += source.data.length;
  return undefined;
}

/** Text is counted as text, a PDF by its pages. */
function checkDocument({ source }: JsonObject, path: string, measure: MessageMeasure): Refusal | undefined {
  if (!isObject(source)) return invalid(`${path}.source`, 'must be an object');
  switch (source.type) {
    case 'base64':
      if (typeof source.data !== 'string') return invalid(`${path}.source.data`, 'must be a string');
      measure.images += imagesOfPdf(source.data);
      measure.mediaDataBytes += source.data.length;
      return undefined;
    case 'text':
      return undefined;
    case 'content':
      return checkContent(source.content, `${path}.source.content`, measure);
    default:
      measure.unseenTextBytes += BYTES_OF_UNREAD_DOCUMENT;
      return undefined;
  }
}
