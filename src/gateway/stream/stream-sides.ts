import { type ApiDialect } from '../../upstreams/upstream.port';
import { MessageStreamReading } from '../dialects/anthropic-messages/message-stream';
import { type AnswerLook } from '../dialects/dialect';
import { DIALECTS, translationOf } from '../dialects/dialects';
import { ChatStreamReading } from '../dialects/openai-chat/chat-stream';
import { ResponseStreamReading } from '../dialects/openai-responses/response-stream';
import { type StreamReading } from '../dialects/stream-reading';
import { ChatWriter } from './chat-writer';
import { MessageWriter } from './message-writer';
import { ResponseWriter } from './response-writer';
import { renderFrame } from './sse-frame';
import { type StreamWriter } from './stream-writer';
import { TranslatingWriter } from './translating-writer';

/** Both sides of one stream: what its provider says of money, and what its client sees. */
export interface StreamSides {
  readonly reading: StreamReading;
  readonly writer: StreamWriter;
}

/**
 * @param wire in which the provider answers
 * @param clientModel the name to show for the model where frames pass; undefined leaves the provider's
 * @param mayBeCut a guard watches the stream
 */
export function streamSidesOf(
  wire: ApiDialect,
  look: AnswerLook,
  clientModel: string | undefined,
  mayBeCut: boolean,
): StreamSides {
  const { request, showUsage } = look;
  if (wire !== request.dialect) {
    const renderer = translationOf(request.dialect).eventRenderer(look);
    const writer = new TranslatingWriter(translationOf(wire).eventParser(), renderer);
    return { reading: DIALECTS[wire].streamReading(request), writer };
  }
  switch (wire) {
    case 'openai-chat': {
      const reading = new ChatStreamReading(request.choices);
      return { reading, writer: new ChatWriter(reading, showUsage, clientModel) };
    }
    case 'anthropic-messages': {
      const reading = new MessageStreamReading();
      return { reading, writer: new MessageWriter(reading, clientModel) };
    }
    case 'openai-responses':
      return { reading: new ResponseStreamReading(), writer: new ResponseWriter(clientModel, mayBeCut) };
    case 'openai-embeddings':
      throw new Error('embeddings are never streamed');
  }
}

/** The frame of an error in the client's dialect: named, where its frames have names. */
export function errorFrame(client: ApiDialect, json: string): Buffer {
  return client === 'openai-chat' ? renderFrame(json) : renderFrame(json, 'error');
}
