import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { invalid } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import { imagesOfPdf } from '../pdf-pages';
import { BYTES_OF_UNREAD_DOCUMENT } from '../unseen-text';

/** What the input carries beside text, for the estimate. */
export interface InputMeasure {
  /** Images, and what pages of documents come to. */
  images: number;
  /** Length of data of images and documents, also of images that a tool made: they are priced by the piece, not by the byte. */
  mediaDataBytes: number;
  audioParts: number;
  /** Length of base64 data of recordings: they are priced by their length in time. */
  audioDataBytes: number;
  /** What files and items may come to that are named and not sent. */
  unseenTextBytes: number;
}

/** An item of an earlier answer: a page. */
const STORED_ITEM_BYTES = 12 * 1024;
/** `%PDF-` */
const PDF_AS_BASE64 = 'JVBERi';

/**
 * Checks only what Tollgate itself relies on (shapes of items, contents and parts); everything else is the provider's to
 * judge. Adds what it sees to `measure`. Of files that are sent along a PDF counts by its pages, any other as text: as base64
 * it is longer than that.
 */
export function checkInput(input: unknown, measure: InputMeasure): Refusal | undefined {
  if (typeof input === 'string') return undefined;
  if (!isArray(input)) return invalid('input', 'must be a string or an array of items');
  if (input.length === 0) return invalid('input', 'must not be empty');
  for (let index = 0; index < input.length; index++) {
    const refusal = checkItem(input[index], `input[${index}]`, measure);
    if (refusal) return refusal;
  }
  return undefined;
}

function checkItem(item: unknown, path: string, measure: InputMeasure): Refusal | undefined {
  if (!isObject(item)) return invalid(path, 'must be an object');
  const { type } = item;
  if (!isAbsent(type) && typeof type !== 'string') return invalid(`${path}.type`, 'must be a string');
  // A reference may do without a type; whatever else does is a message.
  if (type === 'item_reference' || (isAbsent(type) && isAbsent(item.role) && typeof item.id === 'string')) {
    measure.unseenTextBytes += STORED_ITEM_BYTES;
    return undefined;
  }
  if (isAbsent(type) || type === 'message') {
    if (typeof item.role !== 'string') return invalid(`${path}.role`, 'must be a string');
    return checkParts(item.content, `${path}.content`, measure);
  }
  if (type === 'image_generation_call') measureImage(item.result, measure);
  if (isObject(item.output)) return checkPart(item.output, `${path}.output`, measure);
  return type === 'function_call_output' || type === 'custom_tool_call_output'
    ? checkParts(item.output, `${path}.output`, measure)
    : undefined;
}

function checkParts(content: unknown, path: string, measure: InputMeasure): Refusal | undefined {
  if (typeof content === 'string' || isAbsent(content)) return undefined;
  if (!isArray(content)) return invalid(path, 'must be a string or an array of parts');
  for (let index = 0; index < content.length; index++) {
    const refusal = checkPart(content[index], `${path}[${index}]`, measure);
    if (refusal) return refusal;
  }
  return undefined;
}

function checkPart(part: unknown, path: string, measure: InputMeasure): Refusal | undefined {
  if (!isObject(part)) return invalid(path, 'must be an object');
  const { type, text } = part;
  if (typeof type !== 'string') return invalid(`${path}.type`, 'must be a string');
  switch (type) {
    case 'input_text':
    case 'output_text':
      return typeof text === 'string' ? undefined : invalid(`${path}.text`, 'must be a string');
    case 'input_image':
    case 'computer_screenshot':
      return checkImage(part, path, measure);
    case 'input_audio':
    case 'output_audio':
      measureAudio(isObject(part.input_audio) ? part.input_audio : part, measure);
      return undefined;
    case 'input_file':
      measureFile(part.file_data, measure);
      return undefined;
    default:
      return undefined;
  }
}

function checkImage(part: JsonObject, path: string, measure: InputMeasure): Refusal | undefined {
  const { image_url: url } = part;
  if (!isAbsent(url) && typeof url !== 'string') return invalid(`${path}.image_url`, 'must be a string');
  measureImage(url, measure);
  return undefined;
}

/** By URL, as a `data:` URL or base64; what is neither is a file that the provider keeps. */
function measureImage(image: unknown, measure: InputMeasure): void {
  measure.images++;
  if (typeof image === 'string' && !/^https?:/i.test(image)) measure.mediaDataBytes += image.length;
}

function measureFile(data: unknown, measure: InputMeasure): void {
  if (typeof data !== 'string') {
    measure.unseenTextBytes += BYTES_OF_UNREAD_DOCUMENT;
    return;
  }
  const start = data.startsWith('data:') ? data.indexOf(',') + 1 : 0;
  if (!data.startsWith(PDF_AS_BASE64, start)) return;
  measure.images += imagesOfPdf(data.slice(start));
  measure.mediaDataBytes += data.length;
}

function measureAudio({ data }: JsonObject, measure: InputMeasure): void {
  measure.audioParts++;
  if (typeof data === 'string') measure.audioDataBytes += data.length;
}
