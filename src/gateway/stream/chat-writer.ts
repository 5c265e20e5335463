import { type TokenCounts } from '../../catalogue/price';
import { type ChatStreamReading } from '../dialects/openai-chat/chat-stream';
import { type FrameKind } from '../dialects/stream-reading';
import { renderCutEnd } from './cut-end';
import { type FrameBatch, FrameBatches } from './frame-batch';
import { ModelEditor, replaceMember } from './frame-editor';
import { renderFrame } from './sse-frame';
import { type StreamWriter } from './stream-writer';

const DONE_FRAME = renderFrame('[DONE]');

/** A chat stream to a chat client: frames as they came but for the model's name and a usage that was not asked for. */
export class ChatWriter implements StreamWriter {
  private readonly batches = new FrameBatches();
  private readonly modelEditor: ModelEditor | undefined;

  /** @param clientModel the name to show for the model; undefined leaves the provider's */
  constructor(
    private readonly reading: ChatStreamReading,
    private readonly showUsage: boolean,
    private readonly clientModel: string | undefined,
  ) {
    this.modelEditor = clientModel === undefined ? undefined : new ModelEditor(clientModel);
  }

  add(kind: FrameKind, block: Buffer, start: number, end: number): undefined {
    if (kind === 'done' || (kind === 'usage_only' && !this.showUsage)) return undefined;
    if (kind === 'data' || kind === 'data_with_usage') this.batches.count();
    const hidesUsage = kind === 'data_with_usage' && !this.showUsage;
    if (hidesUsage || (this.modelEditor && kind !== 'empty')) {
      const frame = block.subarray(start, end);
      const shown = hidesUsage ? replaceMember(frame, ['usage'], 'null') : frame;
      this.batches.put(this.modelEditor ? this.modelEditor.edit(shown) : shown);
    } else {
      this.batches.pass(block, start, end);
    }
    return undefined;
  }

  /** Its provider has said everything. */
  complete(): undefined {
    return undefined;
  }

  take(): FrameBatch | undefined {
    return this.batches.take();
  }

  cutEnd(billed: TokenCounts | undefined, sample: Buffer | undefined): Buffer {
    return renderCutEnd(sample, {
      choices: this.reading.unfinishedChoices,
      model: this.clientModel,
      usage: this.showUsage ? billed : undefined,
    });
  }

  terminal(): Buffer {
    return DONE_FRAME;
  }
}
