import { isUtf8 } from 'node:buffer';

import { type Refusal } from '../../kernel/errors';
import { isObject, type JsonObject } from '../../kernel/json-object';
import { invalid } from './invalid-request';
import { hasPrototypeKey } from './prototype-key';
import { MAX_JSON_DEPTH, rebuildMembers, type ScanFailure, scanTopLevel, type TopLevel } from './top-level-scan';

/** A body that can be read: its bytes, parsed, and where its members lie in them. */
export interface RequestBody {
  /** The client's bytes, unless they had duplicate keys: then what they mean, so that what is priced is what is sent. */
  readonly bytes: Buffer;
  /** Where the members of `bytes` lie. */
  readonly layout: TopLevel;
  /** `bytes` parsed. */
  readonly body: JsonObject;
}

/**
 * Fields that decide what a call costs, as guards against lookalikes: some providers match field names without regard to
 * case, so `Model` beside `model` could be served and not priced.
 */
export class PricedFields {
  private readonly byFold: ReadonlyMap<string, string>;

  constructor(fields: readonly string[]) {
    this.byFold = new Map(fields.map((field) => [foldCase(field), field]));
  }

  /** Unknown fields pass; lookalikes do not. */
  lookalikeIn(layout: TopLevel): Refusal | undefined {
    for (const { key } of layout.members) {
      const field = this.byFold.get(foldCase(key));
      if (field !== undefined && field !== key) return invalid(key, `is spelled ${field}`);
    }
    return undefined;
  }
}

/**
 * The JSON object that a request carries. Never throws: what cannot be read is a refusal.
 * @param translate for bodies of another shape: what they mean, or undefined for a body as it should be
 */
export function parseRequestBody(
  raw: Buffer,
  priced: PricedFields,
  translate?: (parsed: RequestBody) => Buffer | Refusal | undefined,
): RequestBody | Refusal {
  if (raw.length === 0) return invalid(undefined, 'the body is empty');
  if (!isUtf8(raw)) return invalid(undefined, 'the body is not valid UTF-8');
  const layout = scanTopLevel(raw);
  if (typeof layout === 'string') return SCAN_REFUSALS[layout];
  let body: unknown;
  try {
    body = JSON.parse(raw.toString('utf8'));
  } catch {
    return SCAN_REFUSALS.malformed;
  }
  if (!isObject(body)) return SCAN_REFUSALS.not_an_object;
  if (hasPrototypeKey(raw, body, layout)) return invalid('__proto__', 'is not allowed as a key');
  const lookalike = priced.lookalikeIn(layout);
  if (lookalike) return lookalike;
  const meant = translate?.({ bytes: raw, layout, body });
  if (meant) return Buffer.isBuffer(meant) ? laidOut(meant) : meant;
  return layout.hasDuplicateKeys ? laidOut(rebuildMembers(raw, layout, {})) : { bytes: raw, layout, body };
}

const SCAN_REFUSALS: Readonly<Record<ScanFailure, Refusal>> = {
  malformed: invalid(undefined, 'the body is not valid JSON'),
  not_an_object: invalid(undefined, 'the body must be a JSON object'),
  too_deep: invalid(undefined, `the body is nested deeper than ${MAX_JSON_DEPTH} levels`),
};

/** Of bytes that we made from a valid body, so that they are valid too. */
function laidOut(bytes: Buffer): RequestBody | Refusal {
  const layout = scanTopLevel(bytes);
  if (typeof layout === 'string') return SCAN_REFUSALS[layout];
  return { bytes, layout, body: JSON.parse(bytes.toString('utf8')) as JsonObject };
}

/** Lower then upper case: also folds the two letters (ſ, K) whose single mappings miss their ASCII form. */
function foldCase(text: string): string {
  return text.toLowerCase().toUpperCase();
}
