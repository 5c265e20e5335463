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
  /** Whether a key, at any depth, is written with an escape. */
  readonly hasEscapedKeys: boolean;
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
/** A string with an escaped quote has many: native searches would stop at each. */
const QUOTED_STRING_BYTES = 512;
const MALFORMED = -1;
const TOO_DEEP = -2;

export function scanTopLevel(
  bytes: Buffer,
  from = 0,
  to = bytes.length,
  maxDepth = MAX_JSON_DEPTH,
): TopLevel | ScanFailure {
  return new Scanner(bytes, to, maxDepth).scan(from);
}

/** The member that JSON.parse would keep: the last of its name. */
export function memberOf(top: TopLevel, key: string): Member | undefined {
  for (let index = top.members.length - 1; index >= 0; index--) {
    const member = top.members[index];
    if (member?.key === key) return member;
  }
  return undefined;
}

/**
 * The object with some members' values replaced by the given JSON texts, every other byte as it was; names it did not
 * have are appended. The object must be free of duplicate keys (see rebuildMembers).
 */
export function spliceMembers(bytes: Buffer, top: TopLevel, values: ReadonlyMap<string, string>): Buffer {
  let added = '';
  let growth = 0;
  const edits: { readonly start: number; readonly end: number; readonly text: string }[] = [];
  for (const [key, text] of values) {
    const member = memberOf(top, key);
    if (member) {
      edits.push({ start: member.valueStart, end: member.valueEnd, text });
      growth += Buffer.byteLength(text) - (member.valueEnd - member.valueStart);
    } else {
      added += `${added === '' && top.members.length === 0 ? '' : ','}${JSON.stringify(key)}:${text}`;
    }
  }
  edits.sort((a, b) => a.start - b.start);
  if (added !== '') {
    edits.push({ start: top.end - 1, end: top.end - 1, text: added });
    growth += Buffer.byteLength(added);
  }
  const spliced = Buffer.allocUnsafe(bytes.length + growth);
  let read = 0;
  let written = 0;
  for (const { start, end, text } of edits) {
    written += bytes.copy(spliced, written, read, start);
    written += spliced.write(text, written);
    read = end;
  }
  bytes.copy(spliced, written, read);
  return spliced;
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
  if (members.length > 16) return new Set(members.map((member) => member.key)).size !== members.length;
  for (let index = 1; index < members.length; index++) {
    const key = members[index]?.key;
    for (let earlier = 0; earlier < index; earlier++) {
      if (members[earlier]?.key === key) return true;
    }
  }
  return false;
}

class Scanner {
  private hasEscapedKeys = false;

  constructor(
    private readonly bytes: Buffer,
    private readonly to: number,
    private readonly maxDepth: number,
  ) {}

  scan(from: number): TopLevel | ScanFailure {
    const { bytes, to } = this;
    const start = this.skipWhitespace(from);
    if (start >= to) return 'malformed';
    if (bytes[start] !== OPEN_BRACE) return 'not_an_object';
    const members: Member[] = [];
    let at = this.skipWhitespace(start + 1);
    if (at < to && bytes[at] === CLOSE_BRACE) return this.layout(start, at + 1, members);
    for (;;) {
      if (at >= to || bytes[at] !== QUOTE) return 'malformed';
      const keyEnd = this.skipString(at);
      if (keyEnd < 0) return 'malformed';
      const key = this.readKey(at, keyEnd);
      const colon = this.skipWhitespace(keyEnd);
      if (key === undefined || colon >= to || bytes[colon] !== COLON) return 'malformed';
      const valueStart = this.skipWhitespace(colon + 1);
      const valueEnd = this.skipValue(valueStart);
      if (valueEnd < 0) return valueEnd === TOO_DEEP ? 'too_deep' : 'malformed';
      members.push({ key, keyStart: at, valueStart, valueEnd });
      at = this.skipWhitespace(valueEnd);
      if (at >= to) return 'malformed';
      if (bytes[at] === CLOSE_BRACE) return this.layout(start, at + 1, members);
      if (bytes[at] !== COMMA) return 'malformed';
      at = this.skipWhitespace(at + 1);
    }
  }

  private layout(start: number, end: number, members: readonly Member[]): TopLevel {
    return { start, end, members, hasDuplicateKeys: hasDuplicates(members), hasEscapedKeys: this.hasEscapedKeys };
  }

  private readKey(start: number, end: number): string | undefined {
    if (!this.hasEscape(start, end)) return this.bytes.toString('utf8', start + 1, end - 1);
    this.hasEscapedKeys = true;
    try {
      return JSON.parse(this.bytes.toString('utf8', start, end)) as string;
    } catch {
      return undefined;
    }
  }

  private hasEscape(start: number, end: number): boolean {
    for (let at = start; at < end; at++) {
      if (this.bytes[at] === BACKSLASH) return true;
    }
    return false;
  }

  private skipWhitespace(from: number): number {
    const { bytes, to } = this;
    let at = from;
    while (at < to && isWhitespace(bytes[at])) at++;
    return at;
  }

  /** One past the closing quote of the string that opens at `from`, or MALFORMED. */
  private skipString(from: number): number {
    const { bytes, to } = this;
    let window = SHORT_STRING_BYTES;
    let at = from + 1;
    for (;;) {
      const soon = Math.min(to, at + window);
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
      window = QUOTED_STRING_BYTES;
    }
  }

  /** One past the value that starts at `from`, or MALFORMED or TOO_DEEP. */
  private skipValue(from: number): number {
    const { bytes, to } = this;
    if (from >= to) return MALFORMED;
    const first = bytes[from];
    if (first === QUOTE) return this.skipString(from);
    if (first === OPEN_BRACE || first === OPEN_BRACKET) return this.skipContainer(from);
    let at = from;
    while (at < to) {
      const byte = bytes[at];
      if (byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || isWhitespace(byte)) break;
      at++;
    }
    return at === from ? MALFORMED : at;
  }

  private skipContainer(from: number): number {
    const { bytes, to, maxDepth } = this;
    // The object that is scanned is depth 1 itself.
    let depth = 1;
    let at = from;
    while (at < to) {
      const byte = bytes[at];
      if (byte === QUOTE) {
        const end = this.skipString(at);
        if (end < 0) return MALFORMED;
        if (bytes[this.skipWhitespace(end)] === COLON && this.hasEscape(at, end)) this.hasEscapedKeys = true;
        at = end;
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
}

function isWhitespace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
