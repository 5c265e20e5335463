import { type TokenCounts } from '../../catalogue/price';
import { type FrameKind } from '../dialects/stream-reading';
import { type FrameBatch } from './frame-batch';

/**
 * What the client of one stream is shown of each frame that its provider sends. The terminal frame is held back: everything
 * else is gathered, so that one chunk of the upstream becomes one write.
 */
export interface StreamWriter {
  /** False where the frame cannot be told to the client: the stream is broken then. */
  add(kind: FrameKind, block: Buffer, start: number, end: number): boolean;
  /** The answer is whole: what is left to say before the terminal frame is added. Once. */
  complete(): void;
  /** What was added since the last take. */
  take(): FrameBatch | undefined;
  /**
   * What the provider would have sent if the answer had reached its maximum here, without the terminal frame. The same each
   * time. @param billed for clients that are shown usage
   */
  cutEnd(billed: TokenCounts | undefined, sample: Buffer | undefined): Buffer;
  /** The frame that ends the stream well. The same each time. */
  terminal(): Buffer;
}
