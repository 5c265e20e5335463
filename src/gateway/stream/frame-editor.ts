import { isObject, type JsonObject } from '../../kernel/json-object';
import { memberOf, scanTopLevel } from '../dialects/top-level-scan';
import { dataOf, dataStart, renderFrame } from './sse-frame';

/**
 * Changes single members of the JSON in a frame, the rest of its bytes as they came. A frame whose data spans several
 * lines (nobody sends them, the standard allows them) is rendered anew.
 */
export function replaceMember(frame: Buffer, key: string, json: string): Buffer {
  const data = dataStart(frame, 0, frame.length);
  const layout = data < 0 ? 'malformed' : scanTopLevel(frame, data);
  if (typeof layout === 'string') return renderedAnew(frame, key, json);
  const member = memberOf(layout, key);
  if (!member) return frame;
  return Buffer.concat([frame.subarray(0, member.valueStart), Buffer.from(json), frame.subarray(member.valueEnd)]);
}

function renderedAnew(frame: Buffer, key: string, json: string): Buffer {
  const parsed = parse(dataOf(frame, 0, frame.length));
  if (!parsed || !Object.hasOwn(parsed, key)) return frame;
  return renderFrame(JSON.stringify({ ...parsed, [key]: JSON.parse(json) as unknown }));
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
    if (!isKnown && !this.learn(frame)) return replaceMember(frame, 'model', this.json);
    return Buffer.concat([this.replacement, frame.subarray(this.known.length)]);
  }

  private learn(frame: Buffer): boolean {
    const data = dataStart(frame, 0, frame.length);
    const layout = data < 0 ? 'malformed' : scanTopLevel(frame, data);
    const member = typeof layout === 'string' ? undefined : memberOf(layout, 'model');
    if (!member) return false;
    this.known = frame.subarray(0, member.valueEnd);
    this.replacement = Buffer.concat([frame.subarray(0, member.valueStart), Buffer.from(this.json)]);
    return true;
  }
}
