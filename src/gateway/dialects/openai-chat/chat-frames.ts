import type { TokenCounts } from '../../../catalogue/price';
import type { JsonObject } from '../../../kernel/json-object';
import type { AnswerLook, EventRenderer } from '../dialect';
import type { NeutralEvent } from '../neutral/neutral-event';
import { type ChatDelta, ChatDeltas } from './chat-deltas';
import { chatFinishReason } from './chat-finish';
import { openAiUsageOf } from './usage';

/** Events as the `chat.completion.chunk` frames that OpenAI would send. */
export class ChatFrames implements EventRenderer {
  private readonly deltas: ChatDeltas;
  /** Of each frame, before its delta; it is the same for all. */
  private opening = '';
  private head = '';
  private usage: TokenCounts | undefined;

  constructor(private readonly look: AnswerLook) {
    this.deltas = new ChatDeltas(look.request);
  }

  render(event: NeutralEvent): string {
    switch (event.type) {
      case 'start':
        return this.start(event.createdSeconds);
      case 'finish':
        return this.start() + this.frame({}, chatFinishReason(event.reason, this.deltas.hasRefusal));
      case 'usage':
        this.usage = event.tokens;
        return '';
      case 'end':
        return this.usageFrame();
      case 'block_start':
      case 'delta':
      case 'signature':
      case 'citation':
      case 'block_end': {
        const delta = this.deltas.of(event);
        return delta ? this.start() + this.frame(delta) : '';
      }
    }
  }

  cut(billed: TokenCounts | undefined): string {
    this.usage = billed;
    const rest = this.deltas.cut().map((delta) => this.frame(delta));
    return this.start() + rest.join('') + this.frame({}, 'length') + this.usageFrame();
  }

  terminal(): string {
    return 'data: [DONE]\n\n';
  }

  /** The frame that opens the answer, once. */
  private start(createdSeconds?: number): string {
    if (this.head !== '') return '';
    const head = JSON.stringify({
      id: `chatcmpl-${this.look.answerId}`,
      object: 'chat.completion.chunk',
      created: createdSeconds ?? Math.floor(this.look.nowMs / 1000),
      model: this.look.model,
    });
    this.head = `data: ${head.slice(0, -1)},"choices":`;
    this.opening = `${this.head}[{"index":0,"delta":`;
    return this.frame({ role: 'assistant', content: '', refusal: null });
  }

  private frame(delta: ChatDelta | JsonObject, finishReason: string | null = null): string {
    const end = `,"logprobs":null,"finish_reason":${JSON.stringify(finishReason)}}]`;
    return `${this.opening}${JSON.stringify(delta)}${end}${this.look.showUsage ? ',"usage":null' : ''}}\n\n`;
  }

  private usageFrame(): string {
    if (!this.look.showUsage || !this.usage) return '';
    return `${this.head}[],"usage":${JSON.stringify(openAiUsageOf(this.usage))}}\n\n`;
  }
}
