import { type Refusal } from '../../../kernel/errors';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { invalid, isRefusal } from '../invalid-request';
import { isAbsent, isArray } from '../json-value';
import { sourceOfDataUrl } from '../neutral/data-url';
import type {
  NeutralDocument,
  NeutralImage,
  NeutralSource,
  NeutralText,
  NeutralUserPart,
} from '../neutral/neutral-request';

/** By the ending of its name, where a file's data does not say what it is. */
const MEDIA_TYPES: Readonly<Record<string, string>> = {
  pdf: 'application/pdf',
  txt: 'text/plain',
  md: 'text/markdown',
  csv: 'text/csv',
  html: 'text/html',
  json: 'application/json',
};

/** Content of a message or of a tool's output: a text, or parts of which each is read. */
export function readContent<Part extends object>(
  content: unknown,
  path: string,
  read: (part: JsonObject, path: string) => Part | Refusal,
): (Part | NeutralText)[] | Refusal {
  if (isAbsent(content)) return [];
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  if (!isArray(content)) return invalid(path, 'must be a string or an array of parts');
  const parts: Part[] = [];
  for (const [index, part] of content.entries()) {
    if (!isObject(part)) return invalid(`${path}[${index}]`, 'must be an object');
    const known = read(part, `${path}[${index}]`);
    if (isRefusal(known)) return known;
    parts.push(known);
  }
  return parts;
}

export function readUserPart(part: JsonObject, path: string): NeutralUserPart | Refusal {
  return part.type === 'input_audio' ? readAudio(part, path) : readOutputPart(part, path);
}

/** Of a tool's output: audio is none. */
export function readOutputPart(part: JsonObject, path: string): NeutralText | NeutralImage | NeutralDocument | Refusal {
  switch (part.type) {
    case 'input_image':
      return readImage(part, path);
    case 'input_file':
      return readFile(part, path);
    default:
      return readTextPart(part, path);
  }
}

export function readTextPart({ type, text }: JsonObject, path: string): NeutralText | Refusal {
  if (type !== 'input_text' && type !== 'output_text' && type !== 'text') {
    return invalid(`${path}.type`, 'is not supported for this model here');
  }
  return typeof text === 'string' ? { type: 'text', text } : invalid(`${path}.text`, 'must be a string');
}

function readImage({ image_url: url, file_id: fileId, detail }: JsonObject, path: string): NeutralImage | Refusal {
  const source = isAbsent(url) ? keptFile(fileId, `${path}.image_url`) : readUrl(url, `${path}.image_url`);
  if (isRefusal(source)) return source;
  return { type: 'image', source, path, ...(typeof detail === 'string' ? { detail } : {}) };
}

function readFile(part: JsonObject, path: string): NeutralDocument | Refusal {
  const { file_data: data, file_url: url, file_id: fileId } = part;
  const filename = typeof part.filename === 'string' ? part.filename : undefined;
  const source = !isAbsent(data)
    ? readFileData(data, filename, `${path}.file_data`)
    : isAbsent(url)
      ? keptFile(fileId, `${path}.file_data`)
      : readUrl(url, `${path}.file_url`);
  if (isRefusal(source)) return source;
  return { type: 'document', source, path, ...(filename === undefined ? {} : { filename }) };
}

function readAudio({ input_audio: audio }: JsonObject, path: string): NeutralUserPart | Refusal {
  if (!isObject(audio)) return invalid(`${path}.input_audio`, 'must be an object');
  const { data, format } = audio;
  if (typeof data !== 'string') return invalid(`${path}.input_audio.data`, 'must be a string');
  if (typeof format !== 'string') return invalid(`${path}.input_audio.format`, 'must be a string');
  return { type: 'audio', data, format, path };
}

/** A `data:` URL, or base64 without one. */
function readFileData(data: unknown, filename: string | undefined, path: string): NeutralSource | Refusal {
  if (typeof data !== 'string') return invalid(path, 'must be a string');
  if (data.startsWith('data:')) return readUrl(data, path);
  const ending = filename?.split('.').at(-1)?.toLowerCase() ?? 'pdf';
  return { type: 'base64', mediaType: MEDIA_TYPES[ending] ?? 'application/octet-stream', data };
}

function readUrl(url: unknown, path: string): NeutralSource | Refusal {
  if (typeof url !== 'string') return invalid(path, 'must be a string');
  if (!url.startsWith('data:')) return { type: 'url', url };
  return sourceOfDataUrl(url) ?? invalid(path, 'must be a data URL of base64 data');
}

function keptFile(fileId: unknown, missing: string): NeutralSource | Refusal {
  return typeof fileId === 'string' ? { type: 'file', fileId } : invalid(missing, 'is missing');
}
