import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { invalid, isRefusal } from '../invalid-request';
import { isAbsent } from '../json-value';
import { sourceOfDataUrl } from '../neutral/data-url';
import type {
  NeutralAudio,
  NeutralDocument,
  NeutralImage,
  NeutralSource,
  NeutralText,
} from '../neutral/neutral-request';
import { cacheControlOf, optionalText, readEach, requiredText, unknownField, untranslatable } from './chat-fields';

const CACHE_FIELDS = ['cache_control', 'prompt_cache_breakpoint'];
const fieldsOf = (...names: string[]): ReadonlySet<string> => new Set(['type', ...names, ...CACHE_FIELDS]);
const TEXT_FIELDS = fieldsOf('text');
const IMAGE_FIELDS = fieldsOf('image_url');
const AUDIO_FIELDS = fieldsOf('input_audio');
const FILE_FIELDS = fieldsOf('file');

export type ChatPart = NeutralText | NeutralImage | NeutralDocument | NeutralAudio;

/** The content of a message: a string, or parts of the kinds that `read` takes. */
export function readContent<T extends object>(
  content: unknown,
  path: string,
  read: (part: JsonObject, path: string) => T | readonly T[] | Refusal,
): readonly (T | NeutralText)[] | Refusal {
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }];
  return readEach<T>(content, path, read);
}

export function readText(part: JsonObject, path: string): readonly NeutralText[] | Refusal {
  if (part.type !== 'text') return untranslatable(`${path}.type`);
  const { text } = part;
  if (typeof text !== 'string') return invalid(`${path}.text`, 'must be a string');
  const refusal = unknownField(part, TEXT_FIELDS, path);
  return refusal ?? (text === '' ? [] : [{ type: 'text', text, ...cacheControlOf(part) }]);
}

/** What a user can send. */
export function readUserPart(part: JsonObject, path: string): ChatPart | readonly ChatPart[] | Refusal {
  switch (part.type) {
    case 'input_audio':
      return readAudio(part, path);
    default:
      return readToolPart(part, path);
  }
}

/** What a tool's result may consist of: text by the book, pictures and files as several clients send them. */
export function readToolPart(
  part: JsonObject,
  path: string,
): NeutralImage | NeutralDocument | readonly NeutralText[] | Refusal {
  switch (part.type) {
    case 'image_url':
      return readImage(part, path);
    case 'file':
      return readFile(part, path);
    default:
      return readText(part, path);
  }
}

function readImage(part: JsonObject, path: string): NeutralImage | Refusal {
  const image = isObject(part.image_url) ? part.image_url : { url: part.image_url };
  const url = requiredText(image, 'url', `${path}.image_url`);
  if (typeof url !== 'string') return url;
  const refusal =
    unknownField(part, IMAGE_FIELDS, path) ?? unknownField(image, new Set(['url', 'detail']), `${path}.image_url`);
  if (refusal) return refusal;
  const source = url.startsWith('data:') ? sourceOfDataUrl(url) : ({ type: 'url', url } as const);
  if (!source) return invalid(`${path}.image_url.url`, 'must be a URL, or a data URL with base64');
  return { type: 'image', path, source, ...optionalText(image, 'detail', 'detail'), ...cacheControlOf(part) };
}

function readAudio(part: JsonObject, path: string): NeutralAudio | Refusal {
  const audio = part.input_audio;
  if (!isObject(audio)) return invalid(`${path}.input_audio`, 'must be an object');
  const refusal =
    unknownField(part, AUDIO_FIELDS, path) ?? unknownField(audio, new Set(['data', 'format']), `${path}.input_audio`);
  if (refusal) return refusal;
  const data = requiredText(audio, 'data', `${path}.input_audio`);
  const format = requiredText(audio, 'format', `${path}.input_audio`);
  if (isText(data) && isText(format)) return { type: 'audio', path, data, format };
  return isText(data) ? (format as Refusal) : data;
}

function readFile(part: JsonObject, path: string): NeutralDocument | Refusal {
  const { file } = part;
  if (!isObject(file)) return invalid(`${path}.file`, 'must be an object');
  const refusal =
    unknownField(part, FILE_FIELDS, path) ??
    unknownField(file, new Set(['file_id', 'file_data', 'filename']), `${path}.file`);
  if (refusal) return refusal;
  const source = sourceOfFile(file, path);
  if (isRefusal(source)) return source;
  return { type: 'document', path, source, ...optionalText(file, 'filename', 'filename'), ...cacheControlOf(part) };
}

function sourceOfFile(file: JsonObject, path: string): NeutralSource | Refusal {
  if (!isAbsent(file.file_id)) {
    const fileId = requiredText(file, 'file_id', `${path}.file`);
    return typeof fileId === 'string' ? { type: 'file', fileId } : fileId;
  }
  const data = requiredText(file, 'file_data', `${path}.file`);
  if (typeof data !== 'string') return data;
  if (!data.startsWith('data:')) return { type: 'base64', mediaType: 'application/pdf', data };
  return sourceOfDataUrl(data) ?? invalid(`${path}.file.file_data`, 'must be a data URL with base64');
}

function isText(value: string | Refusal): value is string {
  return typeof value === 'string';
}
