import { type ServerResponse } from 'node:http';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import { type Answer } from './answer';
import { type Behaviour, type HttpFailure } from './behaviour';
import { type SimRequest } from './request';
import { type ServedLog, type ServedRecord } from './served-log';
import { type Frame, type Wire } from './wire';

/** Plays one answer onto one response, in one dialect, and writes down what went out. */
export class Player {
  private readonly gone = new AbortController();
  private sliceIndex = 0;

  constructor(
    private readonly response: ServerResponse,
    private readonly record: ServedRecord,
    private readonly log: ServedLog,
    private readonly behaviour: Behaviour,
    private readonly wire: Wire,
  ) {
    response.once('close', () => {
      this.gone.abort();
      if (!response.writableFinished) this.log.end(this.record, 'client_aborted');
    });
  }

  /** Resolves when the call ended or hangs. Never rejects for a client that left. */
  async play(request: SimRequest, answer: Answer, failure: HttpFailure | undefined): Promise<void> {
    try {
      if (this.behaviour.headersDelayMs !== undefined) await this.wait(this.behaviour.headersDelayMs);
      if (this.behaviour.hangAt === 'headers') return;
      if (this.behaviour.resetAt === 'headers') {
        this.reset();
        return;
      }
      if (failure !== undefined) this.refuse(failure);
      else if (this.behaviour.body !== undefined) await this.sendRaw(this.behaviour.body, request, answer);
      else if (request.isStream) await this.stream(request, answer);
      else await this.sendWhole(request, answer);
    } catch (error) {
      if (!this.gone.signal.aborted) throw error;
    }
  }

  refuse(failure: HttpFailure): void {
    const body = failure.body ?? JSON.stringify(this.wire.errorBody(failure));
    this.head(failure.status, 'application/json', {
      'content-length': String(Buffer.byteLength(body)),
      ...(failure.retryAfter === undefined ? {} : { 'retry-after': failure.retryAfter }),
    });
    this.finish(body, 'refused');
  }

  private async sendWhole(request: SimRequest, answer: Answer): Promise<void> {
    const { json, usage } = this.wire.whole(request, answer, this.behaviour);
    this.head(200, 'application/json', { 'content-length': String(Buffer.byteLength(json)) });
    this.record.usage = usage ?? null;
    this.record.text = answer.pieces.join('');
    await this.sendBody(Buffer.from(json), request, answer);
  }

  private async sendRaw(body: string, request: SimRequest, answer: Answer): Promise<void> {
    this.head(200, request.isStream ? 'text/event-stream' : 'application/json', {});
    await this.sendBody(Buffer.from(body), request, answer);
  }

  /** A body that is not paced by frames: failure points count the writes. */
  private async sendBody(body: Buffer, request: SimRequest, answer: Answer): Promise<void> {
    if (await this.failsAfter(0, request, answer)) return;
    let sent = 0;
    for (const slice of this.slices(body)) {
      await this.write(slice);
      sent += 1;
      if (await this.failsAfter(sent, request, answer)) return;
    }
    this.record.wasTerminalSent = true;
    this.finish('', 'complete');
  }

  private async stream(request: SimRequest, answer: Answer): Promise<void> {
    const frames = this.wire.stream(request, answer, this.behaviour);
    this.head(200, 'text/event-stream; charset=utf-8', { 'cache-control': 'no-cache' });
    this.response.flushHeaders();
    if (this.behaviour.splitAtByte !== undefined || this.behaviour.sliceBytes !== undefined) {
      await this.streamSliced(frames);
      return;
    }
    if (await this.failsAfter(0, request, answer)) return;
    for (const frame of frames) {
      if (this.behaviour.paceMs !== undefined && this.record.contentChunks > 0) await this.wait(this.behaviour.paceMs);
      if (this.record.contentChunks === this.behaviour.garbageAt && frame.isContent) {
        await this.write(this.wire.garbage(this.behaviour).bytes);
      }
      await this.write(frame.bytes);
      this.note(frame);
      if (frame.isContent && (await this.failsAfter(this.record.contentChunks, request, answer))) return;
    }
    this.record.wasTerminalSent = this.behaviour.done !== false;
    this.finish('', 'complete');
  }

  /** Cuts ignore the borders of frames; so that they fall where they were asked for, frames count when all is sent. */
  private async streamSliced(frames: readonly Frame[]): Promise<void> {
    for (const slice of this.slices(Buffer.concat(frames.map((frame) => frame.bytes)))) {
      if (this.behaviour.paceMs !== undefined) await this.wait(this.behaviour.paceMs);
      await this.write(slice);
    }
    frames.forEach((frame) => {
      this.note(frame);
    });
    this.record.wasTerminalSent = this.behaviour.done !== false;
    this.finish('', 'complete');
  }

  private *slices(bytes: Buffer): Generator<Buffer> {
    const { splitAtByte, sliceBytes } = this.behaviour;
    if (splitAtByte !== undefined) {
      yield bytes.subarray(0, splitAtByte);
      yield bytes.subarray(splitAtByte);
      return;
    }
    for (let at = 0; at < bytes.length;) {
      const size = sliceBytes === undefined ? bytes.length : (sliceBytes[this.sliceIndex++ % sliceBytes.length] ?? 1);
      yield bytes.subarray(at, at + size);
      at += size;
    }
  }

  /** @returns true when the call has met its scripted end. */
  private async failsAfter(contentChunks: number, request: SimRequest, answer: Answer): Promise<boolean> {
    const { hangAt, resetAt, endAt, errorEventAt } = this.behaviour;
    if (hangAt === contentChunks) return true;
    if (resetAt === contentChunks) {
      // What was written must leave before the reset destroys it.
      await this.flushed();
      this.reset();
      return true;
    }
    if (errorEventAt === contentChunks) {
      this.finish(this.wire.errorEvent(request, answer, this.behaviour).bytes, 'cut_short');
      return true;
    }
    if (endAt === contentChunks) {
      this.finish('', 'cut_short');
      return true;
    }
    return false;
  }

  private head(status: number, contentType: string, headers: Record<string, string>): void {
    this.record.status = status;
    this.response.writeHead(status, {
      'content-type': this.behaviour.contentType ?? contentType,
      [this.wire.name === 'anthropic-messages' ? 'request-id' : 'x-request-id']: `req_sim_${this.record.serial}`,
      ...headers,
    });
  }

  /** Waits for the socket, and a turn more, so that two writes are two segments. */
  private async write(bytes: Buffer): Promise<void> {
    this.gone.signal.throwIfAborted();
    if (bytes.length === 0) return;
    this.record.firstByteAtMs ??= Date.now();
    this.record.bytesSent += bytes.length;
    if (!this.response.write(bytes)) {
      await new Promise<void>((resolve) => {
        this.response.once('drain', resolve);
        this.gone.signal.addEventListener(
          'abort',
          () => {
            resolve();
          },
          { once: true },
        );
      });
    }
    await nextTurn();
  }

  private note(frame: Frame): void {
    if (frame.isContent) this.record.contentChunks += 1;
    this.record.text += frame.text;
    if (frame.usage !== undefined) this.record.usage = frame.usage;
  }

  private finish(last: string | Buffer, outcome: 'complete' | 'refused' | 'cut_short'): void {
    this.record.bytesSent += Buffer.byteLength(last);
    if (last.length > 0) this.record.firstByteAtMs ??= Date.now();
    this.response.end(last, () => {
      this.log.end(this.record, outcome);
    });
  }

  private reset(): void {
    this.log.end(this.record, 'reset');
    this.response.socket?.resetAndDestroy();
  }

  private async flushed(): Promise<void> {
    // A reset makes the receiving kernel drop what its process has not read yet: leave it a moment to read.
    while ((this.response.socket?.writableLength ?? 0) > 0) await this.wait(1);
    await this.wait(20);
  }

  private wait(ms: number): Promise<void> {
    return delay(ms, undefined, { signal: this.gone.signal });
  }
}
