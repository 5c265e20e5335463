import { type TokenCounts } from '../../catalogue/price';
import { type EventParser, type EventRenderer } from '../dialects/dialect';
import { parseObject } from '../dialects/json-value';
import { type FrameKind } from '../dialects/stream-reading';
import { type FrameBatch } from './frame-batch';
import { dataOf } from './sse-frame';
import { type StreamWriter } from './stream-writer';

const COLON = 0x3a;

/**
 * A stream of one dialect to a client of another: each frame is parsed, and what it says is said anew. Comments go along as
 * they are, so that a provider that thinks for a while keeps its client waiting, too.
 */
export class TranslatingWriter implements StreamWriter {
  private text = '';
  private chunks = 0;
  /** What was asked once: a renderer goes on from what it said. */
  private cut: Buffer | undefined;
  private end: Buffer | undefined;

  constructor(
    private readonly parser: EventParser,
    private readonly renderer: EventRenderer,
  ) {}

  /** False for data that is no JSON: what it was to say would be missing. */
  add(kind: FrameKind, block: Buffer, start: number, end: number): boolean {
    if (kind === 'empty') {
      if (block[start] === COLON) this.text += block.toString('utf8', start, end);
      return true;
    }
    if (kind === 'data' || kind === 'data_with_usage') this.chunks++;
    const data = dataOf(block, start, end);
    const frame = parseObject(data);
    if (!frame) return kind === 'done';
    for (const event of this.parser.parse(frame)) this.text += this.renderer.render(event);
    return true;
  }

  complete(): void {
    for (const event of this.parser.end()) this.text += this.renderer.render(event);
  }

  /** Frames that said nothing yet are counted with what is said next. */
  take(): FrameBatch | undefined {
    if (this.text === '') return undefined;
    const batch = { bytes: Buffer.from(this.text), chunks: this.chunks };
    this.text = '';
    this.chunks = 0;
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
}
