import { type TokenCounts } from '../../catalogue/price';
import { isObject, type JsonObject } from '../../kernel/json-object';
import { parseObject } from '../dialects/json-value';
import { responsesUsageOf } from '../dialects/openai-responses/usage';
import { type FrameKind } from '../dialects/stream-reading';
import { type FrameBatch, FrameBatches } from './frame-batch';
import { replaceMember } from './frame-editor';
import { dataOf, renderFrame } from './sse-frame';
import { type StreamWriter } from './stream-writer';

const MODEL = ['response', 'model'];

/**
 * A stream of one response to a client of the same dialect: frames as they came but for the model's name in those that show
 * the response as a whole.
 */
export class ResponseWriter implements StreamWriter {
  private readonly batches = new FrameBatches();
  private readonly modelJson: string | undefined;
  private ending: Buffer | undefined;
  /** The frame that showed the response last, read only if the stream is cut. */
  private shown: Buffer | undefined;

  /** @param clientModel the name to show for the model; undefined leaves the provider's */
  constructor(clientModel: string | undefined) {
    this.modelJson = clientModel === undefined ? undefined : JSON.stringify(clientModel);
  }

  add(kind: FrameKind, block: Buffer, start: number, end: number): boolean {
    if (kind === 'data') this.batches.count();
    if (kind === 'event' || kind === 'done') {
      const frame = block.subarray(start, end);
      const edited = this.modelJson === undefined ? frame : replaceMember(frame, MODEL, this.modelJson);
      if (kind === 'done') {
        this.ending = edited;
        return true;
      }
      this.shown ??= edited;
      if (edited !== frame) {
        this.batches.put(edited);
        return true;
      }
    }
    this.batches.pass(block, start, end);
    return true;
  }

  complete(): void {
    // Its provider has said everything.
  }

  take(): FrameBatch | undefined {
    return this.batches.take();
  }

  cutEnd(billed: TokenCounts | undefined): Buffer {
    this.ending ??= renderEnd(this.shown, billed);
    return Buffer.alloc(0);
  }

  /** Without one of its provider's the stream is no whole answer. */
  terminal(): Buffer {
    return this.ending ?? Buffer.alloc(0);
  }
}

function renderEnd(shown: Buffer | undefined, billed: TokenCounts | undefined): Buffer {
  const frame = shown && parseObject(dataOf(shown, 0, shown.length));
  const response: JsonObject = isObject(frame?.response) ? frame.response : {};
  const ended = {
    type: 'response.incomplete',
    response: {
      ...response,
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      usage: billed ? responsesUsageOf(billed) : null,
    },
  };
  return renderFrame(JSON.stringify(ended), ended.type);
}
