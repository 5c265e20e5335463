import type { TokenCounts } from '../../catalogue/price';
import type { CollectedText } from './collected-text';
import type { JsonObject } from '../../kernel/json-object';

/** What a frame of a stream is, and so what is to be done with it. */
export type FrameKind =
  /** Part of the answer: text that the model wrote. */
  | 'data'
  /** Part of the answer that carries usage too (DeepSeek, Mistral: on the finish chunk). */
  | 'data_with_usage'
  /** Usage without any choice: only for clients that asked. */
  | 'usage_only'
  /** Part of the protocol, not of the answer: passes, and counts nothing. */
  | 'event'
  /** The first of these: says nothing yet but that the provider took the call. */
  | 'opening'
  | 'done'
  | 'error'
  /** Comments, blank lines: no data. */
  | 'empty';

/** The names by which frames are told apart without parsing them; see FrameScanner. */
export interface FrameVocabulary {
  /** Keys that make a frame worth parsing, unless their value is null. */
  readonly signals: readonly string[];
  /** Keys or whole values that make it so whatever follows, but for a null. */
  readonly words: readonly string[];
  /** Keys whose strings the model wrote. */
  readonly texts: readonly string[];
  /** Keys under which a provider may repeat one text: the longest counts. */
  readonly synonyms: readonly string[];
  /** Values that mark a frame as a piece of text and nothing else. Where there are any, every other frame is parsed. */
  readonly pieces: readonly string[];
}

/** Puts the texts of the frames of one answer together. */
export interface TextReading {
  add(frame: JsonObject): void;
  collected(): CollectedText;
}

/**
 * What one stream says, in one dialect: told each frame that is worth parsing, it knows usage and end of the answer so
 * far. Pure: no bytes, no I/O.
 */
export interface StreamReading {
  readonly vocabulary: FrameVocabulary;
  /** Whether `[DONE]` ends the stream; in other dialects it is no part of it. */
  readonly endsWithDone: boolean;
  /** Frames that open the answer and look like text without being any. */
  readonly openingFrames: number;
  /** The last credible usage that the provider reported. */
  readonly usage: TokenCounts | undefined;
  /** It was told with or after the end of the answer. Before that it is provisional. */
  readonly isUsageFinal: boolean;
  /** Whether a usage that was told before is the last word once the terminal frame came. */
  readonly endMakesUsageFinal: boolean;
  /** Every choice gave its reason to end. */
  readonly isFinished: boolean;
  /** At least one did. */
  readonly hasFinished: boolean;
  /** Of the choice that finished last. */
  readonly finishReason: string | undefined;
  /** The error that a frame tells of; undefined where it tells of none. */
  errorIn(frame: JsonObject): unknown;
  /** Takes note of a frame that tells of no error. */
  read(frame: JsonObject): FrameKind;
  texts(): TextReading;
}
