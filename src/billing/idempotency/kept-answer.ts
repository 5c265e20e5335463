/** What a client was answered, as it is sent again: status and headers as the edge sets them, and the body's bytes. */
export interface KeptAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** What ends the body where nothing is known of after the settle: a stream's last frame. */
  readonly ending: Buffer;
}

/** What is known only after the settle: more headers, and what takes the place of the ending. */
export interface AnswerTail {
  readonly headers: Readonly<Record<string, string>>;
  readonly ending: Buffer;
}

interface Head {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly endingBytes: number;
}

const LENGTH_BYTES = 4;
/** Of body and ending together. */
export const MAX_KEPT_BYTES = 1024 * 1024;

export function isTooLarge({ body, ending }: KeptAnswer): boolean {
  return body.length + ending.length > MAX_KEPT_BYTES;
}

/** As one piece, to be sealed: length of the head (4 bytes) | head as JSON | body | ending. */
export function packAnswer(answer: KeptAnswer): Buffer {
  const { status, headers, body, ending } = answer;
  const head: Head = { status, headers, endingBytes: ending.length };
  const json = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(json.length);
  return Buffer.concat([length, json, body, ending]);
}

export function unpackAnswer(packed: Buffer): KeptAnswer {
  const bodyStart = LENGTH_BYTES + packed.readUInt32BE();
  const { status, headers, endingBytes } = JSON.parse(packed.toString('utf8', LENGTH_BYTES, bodyStart)) as Head;
  const bodyEnd = packed.length - endingBytes;
  return { status, headers, body: packed.subarray(bodyStart, bodyEnd), ending: packed.subarray(bodyEnd) };
}

const NOTHING = Buffer.alloc(0);

export function packTail({ headers, ending }: AnswerTail): Buffer {
  return packAnswer({ status: 0, headers, body: NOTHING, ending });
}

export function unpackTail(packed: Buffer): AnswerTail {
  const { headers, ending } = unpackAnswer(packed);
  return { headers, ending };
}

/** The whole answer, as its client got it. */
export function joined(answer: KeptAnswer, tail: AnswerTail | undefined): KeptAnswer {
  if (!tail) return answer;
  return { ...answer, headers: { ...answer.headers, ...tail.headers }, ending: tail.ending };
}
