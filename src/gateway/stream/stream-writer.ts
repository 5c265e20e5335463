import { type TokenCounts } from '../../catalogue/price';
import { type FrameKind } from '../dialects/stream-reading';
import { type FrameBatch } from './frame-batch';

/**
 * What the client of one stream is shown of each frame that its provider sends. The terminal frame is held back: everything
 * else is gathered, so that one chunk of the upstream becomes one write.
 */
export interface StreamWriter {
  /** Why the frame cannot be told to the client, where it cannot: the stream is broken then. */
  add(kind: FrameKind, block: Buffer, start: number, end: number): string | undefined;
  /** The answer is whole: what is left to say before the terminal frame is added. Once; likewise. */
  complete(): string | undefined;
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
