import { type Answer, type Usage, zeroUsage } from './answer';
import { type Behaviour, BehaviourError, type HttpFailure, type UsageStyle } from './behaviour';
import { type JsonRecord, type SimRequest, type WireName } from './request';

/** One server-sent event on its way out. */
export interface Frame {
  readonly bytes: Buffer;
  /** What failure points count. */
  readonly isContent: boolean;
  readonly text: string;
  /** Usage this frame reports, as chat would; undefined where it reports none. */
  readonly usage: Usage | undefined;
}

export interface Whole {
  readonly json: string;
  readonly usage?: Usage | undefined;
}

/** How one dialect is read and answered. */
export interface Wire {
  readonly name: WireName;
  /** @throws RequestError where a provider would answer 400. */
  read(body: JsonRecord): SimRequest;
  /** The frames of a whole, healthy stream in the style the behaviour asks for. */
  stream(request: SimRequest, answer: Answer, behaviour: Behaviour): Frame[];
  whole(request: SimRequest, answer: Answer, behaviour: Behaviour): Whole;
  /** The event that ends a stream badly. */
  errorEvent(request: SimRequest, answer: Answer, behaviour: Behaviour): Frame;
  /** A frame that is cut inside its JSON. */
  garbage(behaviour: Behaviour): Frame;
  errorBody(failure: HttpFailure): object;
}

/** What is put on the wire besides the data itself. */
export interface FrameParts {
  readonly isContent?: boolean;
  readonly text?: string;
  readonly usage?: Usage | undefined;
}

/** Encodes one event with the line endings and comments that the behaviour asks for; without event name as chat does. */
export function encodeFrame(
  behaviour: Behaviour,
  event: string | undefined,
  data: string,
  parts: FrameParts = {},
): Frame {
  const eol = behaviour.lineEnding ?? '\n';
  const prefix = behaviour.comments === true ? `: keep-alive${eol}${eol}` : '';
  const name = event === undefined ? '' : `event: ${event}${eol}`;
  return {
    bytes: Buffer.from(`${prefix}${name}data: ${data}${eol}${eol}`),
    isContent: parts.isContent ?? false,
    text: parts.text ?? '',
    usage: parts.usage,
  };
}

export function paddingOf(behaviour: Behaviour): object {
  return behaviour.padFrameBytes === undefined ? {} : { padding: 'x'.repeat(behaviour.padFrameBytes) };
}

/** Replayed data lines with their own type as event name, as Anthropic and the Responses API send them. */
export function replayTyped(behaviour: Behaviour, lines: readonly string[]): Frame[] {
  return lines.map((line) => {
    const type = /"type"\s*:\s*"([^"]+)"/.exec(line)?.[1];
    return encodeFrame(behaviour, type, line, { isContent: true });
  });
}

/**
 * The usage that a dialect without styles of its own reports: null or undefined where it reports none.
 * @throws BehaviourError for a style that only chat has
 */
export function plainUsage(answer: Answer, behaviour: Behaviour, wire: WireName): Usage | null | undefined {
  const style: UsageStyle = behaviour.usage ?? 'on';
  switch (style) {
    case 'on':
      return answer.usage;
    case 'omitted':
      return undefined;
    case 'null':
      return null;
    case 'zero':
      return zeroUsage();
    case 'on_finish':
    case 'repeated':
    case 'twice':
      throw new BehaviourError(`simulator: usage "${style}" is chat's, not of ${wire}`);
  }
}
