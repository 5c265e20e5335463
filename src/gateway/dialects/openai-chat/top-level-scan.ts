/**
 * Where the members of one JSON object lie in its bytes, found in one pass without building values. A single field can
 * then be replaced in place, so that big integers, unknown fields and the caller's own formatting survive byte for byte.
 *
 * The scan checks structure only as far as it needs to (brackets are counted, not matched); whoever takes bytes from a
 * stranger also runs JSON.parse over them. What JSON.parse accepts, the scan reads correctly.
 */
export interface Member {
  readonly key: string;
  /** Of the key's opening quote. */
  readonly keyStart: number;
  readonly valueStart: number;
  /** One past the value's last byte. */
  readonly valueEnd: number;
}

export interface TopLevel {
  /** Of the opening brace. */
  readonly start: number;
  /** One past the closing brace. */
  readonly end: number;
  readonly members: readonly Member[];
  readonly hasDuplicateKeys: boolean;
}

export type ScanFailure = 'malformed' | 'not_an_object' | 'too_deep';

/** Nesting that no request needs; JSON.stringify and recursive walks stay far from the end of the stack. */
export const MAX_JSON_DEPTH = 128;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Most strings end within these bytes; a longer one is skipped by a native search for its quote. */
const SHORT_STRING_BYTES = 24;
const MALFORMED = -1;
const TOO_DEEP = -2;

export function scanTopLevel(
  bytes: Buffer,
  from = 0,
  to = bytes.length,
  maxDepth = MAX_JSON_DEPTH,
): TopLevel | ScanFailure {
  const start = skipWhitespace(bytes, from, to);
  if (start >= to) return 'malformed';
  if (bytes[start] !== OPEN_BRACE) return 'not_an_object';
  const members: Member[] = [];
  let at = skipWhitespace(bytes, start + 1, to);
  if (bytes[at] === CLOSE_BRACE && at < to) return { start, end: at + 1, members, hasDuplicateKeys: false };
  for (;;) {
    if (at >= to || bytes[at] !== QUOTE) return 'malformed';
    const keyEnd = skipString(bytes, at, to);
    if (keyEnd < 0) return 'malformed';
    const key = readKey(bytes, at, keyEnd);
    const colon = skipWhitespace(bytes, keyEnd, to);
    if (key === undefined || colon >= to || bytes[colon] !== COLON) return 'malformed';
    const valueStart = skipWhitespace(bytes, colon + 1, to);
    const valueEnd = skipValue(bytes, valueStart, to, maxDepth);
    if (valueEnd < 0) return valueEnd === TOO_DEEP ? 'too_deep' : 'malformed';
    members.push({ key, keyStart: at, valueStart, valueEnd });
    at = skipWhitespace(bytes, valueEnd, to);
    if (at >= to) return 'malformed';
    if (bytes[at] === CLOSE_BRACE) {
      return { start, end: at + 1, members, hasDuplicateKeys: hasDuplicates(members) };
    }
    if (bytes[at] !== COMMA) return 'malformed';
    at = skipWhitespace(bytes, at + 1, to);
  }
}

/** The member that JSON.parse would keep: the last of its name. */
export function memberOf(top: TopLevel, key: string): Member | undefined {
  return top.members.findLast((member) => member.key === key);
}

/**
 * The object with some members' values replaced by the given JSON texts, every other byte as it was; names it did not
 * have are appended. The object must be free of duplicate keys (see withoutDuplicates).
 */
export function spliceMembers(bytes: Buffer, top: TopLevel, values: ReadonlyMap<string, string>): Buffer {
  const parts: Buffer[] = [];
  let copied = 0;
  const missing = new Map(values);
  for (const member of top.members) {
    const value = missing.get(member.key);
    if (value === undefined) continue;
    missing.delete(member.key);
    parts.push(bytes.subarray(copied, member.valueStart), Buffer.from(value));
    copied = member.valueEnd;
  }
  if (missing.size > 0) {
    const added = [...missing].map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(',');
    parts.push(bytes.subarray(copied, top.end - 1), Buffer.from(top.members.length > 0 ? `,${added}` : added));
    copied = top.end - 1;
  }
  parts.push(bytes.subarray(copied));
  return Buffer.concat(parts);
}

/**
 * The object built anew from its own members' bytes: of members that share a name only the last stays (as JSON.parse
 * decides), those named in `without` are left out, those in `values` replaced or appended.
 */
export function rebuildMembers(
  bytes: Buffer,
  top: TopLevel,
  changes: { readonly without?: ReadonlySet<string>; readonly values?: ReadonlyMap<string, string> },
): Buffer {
  const texts = new Map<string, Buffer>();
  for (const { key, valueStart, valueEnd } of top.members) texts.set(key, bytes.subarray(valueStart, valueEnd));
  for (const key of changes.without ?? []) texts.delete(key);
  for (const [key, value] of changes.values ?? []) texts.set(key, Buffer.from(value));
  const parts: Buffer[] = [];
  for (const [key, value] of texts) {
    parts.push(Buffer.from(`${parts.length === 0 ? '{' : ','}${JSON.stringify(key)}:`), value);
  }
  parts.push(Buffer.from(parts.length === 0 ? '{}' : '}'));
  return Buffer.concat(parts);
}

function hasDuplicates(members: readonly Member[]): boolean {
  if (members.length <= 16) {
    return members.some((member, index) => members.findIndex((other) => other.key === member.key) !== index);
  }
  return new Set(members.map((member) => member.key)).size !== members.length;
}

function readKey(bytes: Buffer, start: number, end: number): string | undefined {
  const escape = bytes.indexOf(BACKSLASH, start);
  if (escape < 0 || escape >= end) return bytes.toString('utf8', start + 1, end - 1);
  try {
    return JSON.parse(bytes.toString('utf8', start, end)) as string;
  } catch {
    return undefined;
  }
}

function skipWhitespace(bytes: Buffer, from: number, to: number): number {
  let at = from;
  while (at < to) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    at++;
  }
  return at;
}

/** One past the closing quote of the string that opens at `from`, or MALFORMED. */
function skipString(bytes: Buffer, from: number, to: number): number {
  let at = from + 1;
  for (;;) {
    const soon = Math.min(to, at + SHORT_STRING_BYTES);
    while (at < soon) {
      const byte = bytes[at];
      if (byte === QUOTE) return at + 1;
      at += byte === BACKSLASH ? 2 : 1;
    }
    if (at >= to) return MALFORMED;
    const quote = bytes.indexOf(QUOTE, at);
    if (quote < 0 || quote >= to) return MALFORMED;
    // Escapes before `at` were taken in whole, so a run of backslashes that ends at the quote starts at `at` or later.
    let backslashes = 0;
    while (quote - 1 - backslashes >= at && bytes[quote - 1 - backslashes] === BACKSLASH) backslashes++;
    at = quote + 1;
    if (backslashes % 2 === 0) return at;
  }
}

/** One past the value that starts at `from`, or MALFORMED or TOO_DEEP. */
function skipValue(bytes: Buffer, from: number, to: number, maxDepth: number): number {
  const first = bytes[from];
  if (from >= to) return MALFORMED;
  if (first === QUOTE) return skipString(bytes, from, to);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return skipContainer(bytes, from, to, maxDepth);
  let at = from;
  while (at < to) {
    const byte = bytes[at];
    if (byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET) break;
    if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) break;
    at++;
  }
  return at === from ? MALFORMED : at;
}

function skipContainer(bytes: Buffer, from: number, to: number, maxDepth: number): number {
  // The object that is scanned is depth 1 itself.
  let depth = 1;
  let at = from;
  while (at < to) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = skipString(bytes, at, to);
      if (at < 0) return MALFORMED;
      continue;
    }
    at++;
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      if (++depth > maxDepth) return TOO_DEEP;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      if (--depth === 1) return at;
    }
  }
  return MALFORMED;
}
