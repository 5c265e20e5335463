import { isObject, type JsonObject } from '../../kernel/json-object';
import { type Member, memberOf, scanTopLevel } from '../dialects/top-level-scan';
import { dataOf, dataStart, withData } from './sse-frame';

/**
 * Changes one member of the JSON in a frame, the rest of its bytes as they came; a frame that has none stays as it is. One
 * whose data spans several lines (nobody sends them, the standard allows them) gets its JSON rendered anew.
 * @param path the names of the objects that the member lies in, and its own
 */
export function replaceMember(frame: Buffer, path: readonly string[], json: string): Buffer {
  const member = findMember(frame, path);
  if (member === 'malformed') return renderedAnew(frame, path, json);
  if (!member) return frame;
  return Buffer.concat([frame.subarray(0, member.valueStart), Buffer.from(json), frame.subarray(member.valueEnd)]);
}

function findMember(frame: Buffer, path: readonly string[]): Member | undefined | 'malformed' {
  const data = dataStart(frame, 0, frame.length);
  if (data < 0) return 'malformed';
  let from = data;
  let to = frame.length;
  let member: Member | undefined;
  for (const [depth, name] of path.entries()) {
    const layout = scanTopLevel(frame, from, to);
    if (typeof layout === 'string') return depth === 0 ? 'malformed' : undefined;
    member = memberOf(layout, name);
    if (!member) return undefined;
    from = member.valueStart;
    to = member.valueEnd;
  }
  return member;
}

function renderedAnew(frame: Buffer, path: readonly string[], json: string): Buffer {
  const parsed = parse(dataOf(frame, 0, frame.length));
  const changed = parsed && withMember(parsed, path, JSON.parse(json) as unknown);
  return changed ? withData(frame, JSON.stringify(changed)) : frame;
}

/** Undefined where there is no such member. */
function withMember(object: JsonObject, [name, ...rest]: readonly string[], value: unknown): JsonObject | undefined {
  if (name === undefined || !Object.hasOwn(object, name)) return undefined;
  if (rest.length === 0) return { ...object, [name]: value };
  const inner = object[name];
  const changed = isObject(inner) ? withMember(inner, rest, value) : undefined;
  return changed && { ...object, [name]: changed };
}

function parse(data: string): JsonObject | undefined {
  try {
    const parsed: unknown = JSON.parse(data);
    return isObject(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Gives the frames of one stream the client's name of the model. Frames of a stream mostly share their first bytes up to
 * and with the model; equal bytes need no second scan.
 */
export class ModelEditor {
  private readonly json: string;
  /** The last frame's bytes up to the end of its model, and what goes out in their place. */
  private known: Buffer = Buffer.alloc(0);
  private replacement: Buffer = Buffer.alloc(0);

  constructor(model: string) {
    this.json = JSON.stringify(model);
  }

  edit(frame: Buffer): Buffer {
    const { known } = this;
    const isKnown =
      known.length > 0 && frame.length >= known.length && frame.compare(known, 0, known.length, 0, known.length) === 0;
    if (!isKnown && !this.learn(frame)) return replaceMember(frame, ['model'], this.json);
    return Buffer.concat([this.replacement, frame.subarray(this.known.length)]);
  }

  private learn(frame: Buffer): boolean {
    const member = findMember(frame, ['model']);
    if (!member || member === 'malformed') return false;
    this.known = frame.subarray(0, member.valueEnd);
    this.replacement = Buffer.concat([frame.subarray(0, member.valueStart), Buffer.from(this.json)]);
    return true;
  }
}
