import type { TokenCounts } from '../../../catalogue/price';
import { TextPieces } from '../collected-text';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isAbsent } from '../json-value';
import type { FrameKind, FrameVocabulary, StreamReading, TextReading } from '../stream-reading';
import { usageFromResponses } from './usage';
import { endOf } from './whole-response';

/** Events that carry a piece of what the model wrote in their `delta`. What `….done` says, these have said before. */
const PIECES = [
  'response.output_text.delta',
  'response.refusal.delta',
  'response.function_call_arguments.delta',
  'response.custom_tool_call_input.delta',
  'response.mcp_call_arguments.delta',
  'response.code_interpreter_call_code.delta',
  'response.shell_call_command.delta',
  'response.audio.transcript.delta',
  'response.reasoning_text.delta',
  'response.reasoning_summary_text.delta',
];

const VOCABULARY: FrameVocabulary = {
  signals: [],
  words: [],
  texts: ['delta'],
  synonyms: [],
  pieces: PIECES,
};

/**
 * A stream of one response. Its usage comes with its terminal frame: `response.completed`, or `response.incomplete` where
 * a limit ended it. `response.failed` and `error` are errors, whatever they say besides.
 */
export class ResponseStreamReading implements StreamReading {
  readonly vocabulary = VOCABULARY;
  readonly endsWithDone = false;
  readonly openingFrames = 0;
  readonly endMakesUsageFinal = true;
  usage: TokenCounts | undefined;
  isUsageFinal = false;
  finishReason: string | undefined;

  get isFinished(): boolean {
    return this.finishReason !== undefined;
  }

  get hasFinished(): boolean {
    return this.isFinished;
  }

  errorIn(frame: JsonObject): unknown {
    // One without a type is no event: a server in front of the provider that does not know what it stands before.
    if (frame.type === 'error' || isAbsent(frame.type))
      return frame.error ?? (frame.type === 'error' ? frame : undefined);
    if (frame.type !== 'response.failed') return undefined;
    return (isObject(frame.response) ? frame.response.error : undefined) ?? frame;
  }

  read(frame: JsonObject): FrameKind {
    switch (frame.type) {
      case 'response.completed':
      case 'response.incomplete':
        return this.readEnd(frame.response);
      case 'response.created':
      case 'response.queued':
      case 'response.in_progress':
        return 'opening';
      case 'response.output_item.added':
        return isObject(frame.item) && isCall(frame.item) ? 'data' : 'event';
      default:
        return typeof frame.type === 'string' && PIECES.includes(frame.type) ? 'data' : 'event';
    }
  }

  texts(): TextReading {
    const pieces = new TextPieces();
    return {
      add: (frame) => {
        addFrame(pieces, frame);
      },
      collected: () => pieces.collected(),
    };
  }

  private readEnd(response: unknown): FrameKind {
    const ended = isObject(response) ? response : {};
    this.finishReason = endOf(ended);
    const usage = usageFromResponses(ended.usage);
    if (usage) {
      this.usage = usage;
      this.isUsageFinal = true;
    }
    return 'done';
  }
}

/** An item that opens with the name of a tool, which the model wrote. */
function isCall(item: JsonObject): boolean {
  return typeof item.name === 'string' && item.name !== '';
}

function addFrame(pieces: TextPieces, frame: JsonObject): void {
  const { type, output_index: item, content_index, summary_index, delta } = frame;
  const key = [item, content_index, summary_index].map((at) => (typeof at === 'number' ? at : '')).join();
  if (isObject(frame.item)) pieces.addOutput(`${key} name`, frame.item.name);
  else if (typeof type === 'string' && type.startsWith('response.reasoning')) pieces.addReasoning(key, delta);
  else pieces.addOutput(key, delta);
}
