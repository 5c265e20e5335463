import { type OutgoingHttpHeaders, type ServerResponse } from 'node:http';
import { type AnswerCopy } from './answer-copy';

/** Who reads a stream. Bytes are handed over in order; the first write or end sends the head. */
export interface StreamClient {
  /** Whether the head was sent: from then on only the stream itself can tell of an error. */
  readonly isOpened: boolean;
  /** The client hung up before the end. */
  readonly isGone: boolean;
  /** Whether bytes are of use to anybody: to a client that is there, or to the copy of its answer. */
  readonly takesBytes: boolean;
  /** False when the client reads slower than we write: wait for onDrain. */
  write(bytes: Buffer): boolean;
  end(lastBytes?: Buffer): void;
  /** Ends the connection without an end of the stream, which a client sees as broken. */
  destroy(): void;
  /** From now on `copy` gets what is written, also after the client hung up; not what `end` sends. */
  copyTo(copy: AnswerCopy): void;
  /** Replaces the listener: one attempt at a time writes. */
  listen(listener: StreamClientListener): void;
}

export interface StreamClientListener {
  onDrain(): void;
  /** The client hung up. Not called after end(). */
  onClose(): void;
}

/**
 * Over Node's response of a hijacked Fastify reply. `openHead` is called once, with the first bytes, so that headers that
 * are known late (which upstream answered) are right, and so that the reply may be hijacked only then.
 */
export class NodeStreamClient implements StreamClient {
  private listener: StreamClientListener | undefined;
  private copy: AnswerCopy | undefined;
  private opened = false;
  private gone = false;
  private ended = false;

  constructor(
    private readonly response: ServerResponse,
    private readonly openHead: () => OutgoingHttpHeaders,
  ) {
    response.on('drain', () => this.listener?.onDrain());
    response.on('close', () => {
      this.hangUp();
    });
    // A write that meets a reset connection; 'close' follows, but not in every case.
    response.on('error', () => {
      this.hangUp();
    });
    if (response.destroyed) this.gone = true;
  }

  get isOpened(): boolean {
    return this.opened;
  }

  get isGone(): boolean {
    return this.gone;
  }

  get takesBytes(): boolean {
    return !this.gone || this.copy !== undefined;
  }

  copyTo(copy: AnswerCopy): void {
    this.copy = copy;
  }

  listen(listener: StreamClientListener): void {
    this.listener = listener;
  }

  write(bytes: Buffer): boolean {
    this.copy?.add(bytes);
    if (this.gone || this.ended) return true;
    this.open();
    return this.response.write(bytes);
  }

  end(lastBytes?: Buffer): void {
    if (this.gone || this.ended) return;
    this.open();
    this.ended = true;
    this.response.end(lastBytes);
  }

  destroy(): void {
    this.response.destroy();
  }

  private open(): void {
    if (this.opened) return;
    this.opened = true;
    this.response.writeHead(200, this.openHead());
  }

  private hangUp(): void {
    // Every response closes; one that was answered whole (past this class, too) closes without anybody having left.
    if (this.gone || this.ended || this.response.writableFinished) return;
    this.gone = true;
    this.listener?.onClose();
  }
}
