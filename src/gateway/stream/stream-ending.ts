import { type UpstreamFailure } from '../../upstreams/upstream.port';
import { type CountableAnswer } from './count-tokens';
import { type GuardCut } from './stream-guard';
import { type TokenAccumulator } from './token-accumulator';

export type StreamEndReason =
  /** The answer is whole; its terminal frame is held back for finish(). */
  | 'complete'
  /** The connection broke, or the body ended before the answer did. */
  | 'upstream_broke'
  /** The provider sent an error inside a stream of status 200. */
  | 'upstream_error_event'
  /** The client hung up, and the provider was cut off (policy `cut`, drain time over, or it broke meanwhile). */
  | 'client_left'
  /** The client hung up, and the answer was read to its end all the same. */
  | 'client_left_drained'
  /** The gate refused: not a byte was sent. */
  | 'refused'
  | 'cut_by_shutdown'
  /** It would have cost more than was held for it, or more than the overdraft allows on top of that. */
  | GuardCut['reason'];

export interface StreamEnding {
  readonly reason: StreamEndReason;
  readonly accumulator: TokenAccumulator;
  /** What is to be billed: for an answer that was cut, what was delivered of it; after a hang-up what was read. */
  readonly answer: CountableAnswer;
  /** Where the guard ended it. */
  readonly guardCut: GuardCut | undefined;
  /** First byte of the provider's body, by the monotonic clock. */
  readonly firstByteAtMs: number | undefined;
  /** Frames of the answer that were handed to the client's connection. */
  readonly deliveredChunks: number;
  /** For logs, when the provider failed. */
  readonly failure: UpstreamFailure | undefined;
  /** For logs, where something came whole that could not be passed on. */
  readonly fault: string | undefined;
}
