import { type TokenCounts } from '../../catalogue/price';
import { type EventParser, type EventRenderer } from '../dialects/dialect';
import { parseObject } from '../dialects/json-value';
import { type NeutralEvent } from '../dialects/neutral/neutral-event';
import { type FrameKind } from '../dialects/stream-reading';
import { type FrameBatch } from './frame-batch';
import { dataOf } from './sse-frame';
import { type StreamWriter } from './stream-writer';

const COLON = 0x3a;
/** For clients and proxies that wait only so long. */
const PING = ': ping\n\n';

/**
 * A stream of one dialect to a client of another: each frame is parsed, and what it says is said anew. Comments go along as
 * they are, and pings as comments: what keeps a connection open while the provider thinks has to pass.
 */
export class TranslatingWriter implements StreamWriter {
  private text = '';
  private chunks = 0;
  private hasSpoken = false;
  /** What was asked once: a renderer goes on from what it said. */
  private cut: Buffer | undefined;
  private end: Buffer | undefined;

  constructor(
    private readonly parser: EventParser,
    private readonly renderer: EventRenderer,
  ) {}

  /** What is no JSON would be missing from what is said. */
  add(kind: FrameKind, block: Buffer, start: number, end: number): string | undefined {
    if (kind === 'empty') {
      if (block[start] === COLON) this.text += block.toString('utf8', start, end);
      return undefined;
    }
    if (kind === 'data' || kind === 'data_with_usage') this.chunks++;
    const frame = parseObject(dataOf(block, start, end));
    if (!frame) return kind === 'done' ? undefined : 'a frame of the stream is no JSON';
    if (frame.type === 'ping' && this.hasSpoken) this.text += PING;
    return this.say(() => this.parser.parse(frame));
  }

  complete(): string | undefined {
    return this.say(() => this.parser.end());
  }

  /** Frames that said nothing yet are counted with what is said next. */
  take(): FrameBatch | undefined {
    if (this.text === '') return undefined;
    const batch = { bytes: Buffer.from(this.text), chunks: this.chunks };
    this.text = '';
    this.chunks = 0;
    this.hasSpoken = true;
    return batch;
  }

  cutEnd(billed: TokenCounts | undefined): Buffer {
    this.cut ??= Buffer.from(this.renderer.cut(billed));
    return this.cut;
  }

  terminal(): Buffer {
    this.end ??= Buffer.from(this.renderer.terminal());
    return this.end;
  }

  /** Whatever a provider sends, it must not be more than this stream that ends. */
  private say(events: () => readonly NeutralEvent[]): string | undefined {
    try {
      for (const event of events()) this.text += this.renderer.render(event);
      return undefined;
    } catch (error) {
      return `a frame of the stream could not be translated: ${String(error)}`;
    }
  }
}
