import type { TokenCounts } from '../../../catalogue/price';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isArray } from '../json-value';
import type { FrameKind, FrameVocabulary, StreamReading, TextReading } from '../stream-reading';
import { errorOf } from './chat-completion';
import { ChatText } from './chat-text';
import { usageFromOpenAi } from './usage';

const VOCABULARY: FrameVocabulary = {
  signals: ['usage', 'finish_reason'],
  // Some providers send `"object":"error"`.
  words: ['error'],
  texts: ['content', 'refusal', 'arguments', 'input', 'transcript'],
  synonyms: ['reasoning_content', 'reasoning'],
  pieces: [],
};

/** A stream of `chat.completion.chunk` objects. */
export class ChatStreamReading implements StreamReading {
  readonly vocabulary = VOCABULARY;
  readonly endsWithDone = true;
  readonly endMakesUsageFinal = true;
  usage: TokenCounts | undefined;
  isUsageFinal = false;
  finishReason: string | undefined;
  private readonly finished = new Set<number>();

  /** @param choices how many answers the request asked for (`n`) */
  constructor(private readonly choices: number) {}

  /** Each choice opens with its role. */
  get openingFrames(): number {
    return this.choices;
  }

  get isFinished(): boolean {
    return this.finished.size >= this.choices;
  }

  get hasFinished(): boolean {
    return this.finished.size > 0;
  }

  /** Of the choices that the request asked for, those without a reason to end. */
  get unfinishedChoices(): readonly number[] {
    return Array.from({ length: this.choices }, (_, index) => index).filter((index) => !this.finished.has(index));
  }

  errorIn(frame: JsonObject): unknown {
    return errorOf(frame);
  }

  read(frame: JsonObject): FrameKind {
    const choices = isArray(frame.choices) ? frame.choices : [];
    for (const choice of choices) this.noteFinish(choice);
    const { usage } = frame;
    if (!isObject(usage)) return 'data';
    const isWithoutChoice = choices.length === 0;
    const counts = usageFromOpenAi(usage);
    if (counts) {
      this.usage = counts;
      this.isUsageFinal = this.isFinished || (isWithoutChoice && this.hasFinished);
    }
    return isWithoutChoice ? 'usage_only' : 'data_with_usage';
  }

  texts(): TextReading {
    const text = new ChatText();
    return {
      add: (frame) => {
        text.addChoices(frame.choices, 'delta');
      },
      collected: () => text.collected(),
    };
  }

  private noteFinish(choice: unknown): void {
    if (!isObject(choice) || typeof choice.finish_reason !== 'string') return;
    this.finishReason = choice.finish_reason;
    this.finished.add(typeof choice.index === 'number' ? choice.index : 0);
  }
}
