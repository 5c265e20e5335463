import type { TokenCounts } from '../../src/catalogue/price';
import type {
  NeutralBlock,
  NeutralCitation,
  NeutralEvent,
  NeutralFinishReason,
} from '../../src/gateway/dialects/neutral/neutral-event';

export interface NeutralAnswer {
  readonly blocks: readonly NeutralAnswerBlock[];
  readonly finish: { readonly reason: NeutralFinishReason; readonly stopSequence?: string } | undefined;
  readonly tokens: TokenCounts | undefined;
}

export interface NeutralAnswerBlock {
  readonly content: NeutralBlock;
  text: string;
  signature: string;
  readonly citations: NeutralCitation[];
}

/** What events say, however they were cut; throws where they are out of order. */
export function neutralAnswerOf(events: readonly NeutralEvent[]): NeutralAnswer {
  const blocks: NeutralAnswerBlock[] = [];
  const open = new Set<number>();
  let finish: NeutralAnswer['finish'];
  let tokens: TokenCounts | undefined;
  const blockAt = (block: number): NeutralAnswerBlock => {
    const found = blocks[block];
    if (!found || !open.has(block)) throw new Error(`block ${block} is not open`);
    return found;
  };
  events.forEach((event, at) => {
    const isLast = at === events.length - 1;
    if ((event.type === 'start') !== (at === 0) || (event.type === 'end') !== isLast) {
      throw new Error(`${event.type} stands at ${at} of ${events.length}`);
    }
    switch (event.type) {
      case 'block_start':
        if (event.block !== blocks.length || finish) throw new Error(`block ${event.block} begins out of order`);
        blocks.push({ content: event.content, text: '', signature: '', citations: [] });
        open.add(event.block);
        break;
      case 'delta':
        blockAt(event.block).text += event.text;
        break;
      case 'signature':
        blockAt(event.block).signature += event.signature;
        break;
      case 'citation':
        blockAt(event.block).citations.push(event.citation);
        break;
      case 'block_end':
        blockAt(event.block);
        open.delete(event.block);
        break;
      case 'finish': {
        if (finish || open.size > 0) throw new Error('the answer ends with a block open, or twice');
        const { reason, stopSequence } = event;
        finish = stopSequence === undefined ? { reason } : { reason, stopSequence };
        break;
      }
      case 'usage':
        tokens = event.tokens;
        break;
      case 'start':
      case 'end':
        break;
    }
  });
  return { blocks, finish, tokens };
}
