import type { TokenCounts } from '../../../catalogue/price';
import { TextPieces } from '../collected-text';
import { credibleCount } from '../credible-count';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { FrameKind, FrameVocabulary, StreamReading, TextReading } from '../stream-reading';
import { addBlockText, isToolCall } from './message-text';
import { usageFromAnthropic } from './usage';
import { errorOf } from './whole-message';

const VOCABULARY: FrameVocabulary = {
  signals: [],
  words: ['error'],
  texts: ['text', 'thinking', 'partial_json'],
  synonyms: [],
  pieces: ['content_block_delta'],
};

/**
 * A stream of one Anthropic message. `message_start` tells the input and a provisional output; `message_delta` tells
 * every count again, as it stands then, with the reason to stop; `message_stop` is the terminal frame.
 */
export class MessageStreamReading implements StreamReading {
  readonly vocabulary = VOCABULARY;
  readonly endsWithDone = false;
  readonly openingFrames = 0;
  /** Without a `message_delta` the output told is what the message began with. */
  readonly endMakesUsageFinal = false;
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
    return errorOf(frame);
  }

  read(frame: JsonObject): FrameKind {
    switch (frame.type) {
      case 'message_start':
        return this.noteStart(isObject(frame.message) ? frame.message : {});
      case 'message_delta':
        return this.note(frame.usage, isObject(frame.delta) ? frame.delta.stop_reason : undefined);
      case 'content_block_start':
        return isWritten(frame.content_block) ? 'data' : 'event';
      case 'content_block_delta':
        return 'data';
      case 'message_stop':
        return 'done';
      default:
        return 'event';
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

  private noteStart({ usage, stop_reason: stopReason }: JsonObject): FrameKind {
    this.note(usage, stopReason);
    return 'opening';
  }

  private note(usage: unknown, stopReason: unknown): FrameKind {
    if (typeof stopReason === 'string') this.finishReason = stopReason;
    if (!isObject(usage)) return 'event';
    this.usage = usageFromAnthropic(usage, this.usage);
    this.isUsageFinal = this.isFinished && credibleCount(usage.output_tokens) !== undefined;
    return 'event';
  }
}

/** A block of a tool call opens with the tool's name, which the model wrote. */
function isWritten(block: unknown): boolean {
  return isObject(block) && (isToolCall(block) || (typeof block.text === 'string' && block.text !== ''));
}

function addFrame(pieces: TextPieces, frame: JsonObject): void {
  const key = typeof frame.index === 'number' ? `${frame.index}` : '0';
  const { content_block: block, delta } = frame;
  if (isObject(block)) addBlockText(pieces, key, block);
  if (!isObject(delta)) return;
  pieces.addOutput(key, delta.text);
  pieces.addOutput(key, delta.partial_json);
  pieces.addReasoning(key, delta.thinking);
}
