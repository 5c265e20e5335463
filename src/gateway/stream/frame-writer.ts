import { ModelEditor, replaceMember } from './frame-editor';
import { type FrameKind } from '../dialects/stream-reading';

export interface FrameBatch {
  readonly bytes: Buffer;
  /** Frames of the answer among them. */
  readonly chunks: number;
}

/**
 * What the client sees of each frame, gathered so that one upstream chunk becomes one write. Frames that lie side by side
 * in the upstream's chunk and need no change go out as that very memory.
 */
export class FrameWriter {
  private readonly parts: Buffer[] = [];
  private block: Buffer | undefined;
  private start = 0;
  private end = 0;
  private chunks = 0;
  private readonly modelEditor: ModelEditor | undefined;

  /** @param clientModel the name to show for the model; undefined leaves the provider's */
  constructor(
    private readonly showUsage: boolean,
    clientModel: string | undefined,
  ) {
    this.modelEditor = clientModel === undefined ? undefined : new ModelEditor(clientModel);
  }

  add(kind: FrameKind, block: Buffer, start: number, end: number): void {
    if (kind === 'usage_only' && !this.showUsage) return;
    if (kind === 'data' || kind === 'data_with_usage') this.chunks++;
    const hidesUsage = kind === 'data_with_usage' && !this.showUsage;
    if (hidesUsage || (this.modelEditor && kind !== 'empty')) {
      this.addEdited(block.subarray(start, end), hidesUsage);
    } else if (block === this.block && start === this.end) {
      this.end = end;
    } else {
      this.closeSpan();
      this.block = block;
      this.start = start;
      this.end = end;
    }
  }

  /** What was added since the last take. */
  take(): FrameBatch | undefined {
    this.closeSpan();
    const [first] = this.parts;
    if (!first) return undefined;
    const bytes = this.parts.length === 1 ? first : Buffer.concat(this.parts);
    const batch = { bytes, chunks: this.chunks };
    this.parts.length = 0;
    this.chunks = 0;
    return batch;
  }

  private addEdited(frame: Buffer, hidesUsage: boolean): void {
    this.closeSpan();
    const shown = hidesUsage ? replaceMember(frame, 'usage', 'null') : frame;
    this.parts.push(this.modelEditor ? this.modelEditor.edit(shown) : shown);
  }

  private closeSpan(): void {
    const { block, start, end } = this;
    if (!block) return;
    this.parts.push(start === 0 && end === block.length ? block : block.subarray(start, end));
    this.block = undefined;
  }
}
