const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
const LETTER_D = 0x64;
const LETTER_E = 0x65;
const DATA = Buffer.from('data');
const ERROR_EVENT_LENGTH = 'event: error'.length;

/**
 * Where the first `data:` value of a frame starts, or -1 for a frame without data (comments, blank lines). Most frames
 * are one data line, recognised by their first letter.
 */
export function dataStart(block: Buffer, start: number, end: number): number {
  let line = start;
  while (line < end) {
    const first = block[line];
    if (first === LETTER_D) {
      const value = dataValueStart(block, line, end);
      if (value >= 0) return value;
    }
    if (first !== LF && first !== CR) line = endOfLine(block, line, end);
    line++;
  }
  return -1;
}

/** The frame's data: its `data:` lines joined by LF, as the standard says. */
export function dataOf(block: Buffer, start: number, end: number): string {
  let data: string | undefined;
  let line = start;
  while (line < end) {
    const lineEnd = endOfLine(block, line, end);
    const value = block[line] === LETTER_D ? dataValueStart(block, line, lineEnd) : -1;
    if (value >= 0) {
      const text = block.toString('utf8', value, lineEnd);
      data = data === undefined ? text : `${data}\n${text}`;
    }
    line = lineEnd + 1;
  }
  return data ?? '';
}

/** Whether the frame opens with the line `event: error`. */
export function isErrorEvent(block: Buffer, start: number, end: number): boolean {
  if (block[start] !== LETTER_E) return false;
  const line = block.toString('latin1', start, Math.min(end, start + ERROR_EVENT_LENGTH + 1));
  return /^event: ?error[\r\n]/.test(line);
}

/** Whether a frame's data came whole. */
export function isJson(data: string): boolean {
  try {
    JSON.parse(data);
    return true;
  } catch {
    return false;
  }
}

/** @param event its name, in dialects whose frames have one */
export function renderFrame(data: string, event?: string): Buffer {
  return Buffer.from(event === undefined ? `data: ${data}\n\n` : `event: ${event}\ndata: ${data}\n\n`);
}

/** The frame with other data, in one line; its other lines stay. */
export function withData(frame: Buffer, data: string): Buffer {
  const lines = frame
    .toString('utf8')
    .split(/\r\n|\r|\n/)
    .filter((line) => line !== '' && !/^data(?::|$)/.test(line));
  return Buffer.from([...lines, `data: ${data}`, '', ''].join('\n'));
}

/** Of a line that starts with a `d`; `data` alone is a data line with an empty value. */
function dataValueStart(block: Buffer, line: number, end: number): number {
  for (let offset = 1; offset < DATA.length; offset++) {
    if (block[line + offset] !== DATA[offset]) return -1;
  }
  const after = line + DATA.length;
  if (after >= end) return after === end ? end : -1;
  const next = block[after];
  if (next === LF || next === CR) return after;
  if (next !== COLON) return -1;
  return after + 1 < end && block[after + 1] === SPACE ? after + 2 : after + 1;
}

function endOfLine(block: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && block[at] !== LF && block[at] !== CR) at++;
  return at;
}
