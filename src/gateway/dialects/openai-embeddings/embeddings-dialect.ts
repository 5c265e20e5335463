import type { Dialect } from '../dialect';
import { passOnBytes } from '../pass-on';
import { readEmbeddings } from './embeddings-answer';
import { embeddingsPromptText, parseEmbeddingsRequest } from './embeddings-request';
import { usageFromEmbeddings } from './usage';

/** `/v1/embeddings`: input alone, never a stream. No other dialect can say it. */
export const EMBEDDINGS_DIALECT: Dialect = {
  name: 'openai-embeddings',
  parseRequest: parseEmbeddingsRequest,
  passOn: passOnBytes,
  promptText: embeddingsPromptText,
  readAnswer: readEmbeddings,
  usageFrom: usageFromEmbeddings,
  streamReading: () => {
    throw new Error('embeddings are never streamed: a request for it is refused');
  },
};
