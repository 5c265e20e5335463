import type { ApiDialect } from '../upstreams/upstream.port';
import { DIALECT_PATHS } from '../upstreams/dialect-paths';

/** Where a dialect's clients call. */
export interface InferenceRoute {
  readonly path: string;
  readonly dialect: ApiDialect;
}

const routeOf = (dialect: ApiDialect): InferenceRoute => ({ path: `/v1${DIALECT_PATHS[dialect]}`, dialect });

export const CHAT_ROUTE = routeOf('openai-chat');
export const RESPONSES_ROUTE = routeOf('openai-responses');
export const MESSAGES_ROUTE = routeOf('anthropic-messages');
export const EMBEDDINGS_ROUTE = routeOf('openai-embeddings');

/** Every route of inference, by its path. */
export const INFERENCE_ROUTES: ReadonlyMap<string, InferenceRoute> = new Map(
  [CHAT_ROUTE, RESPONSES_ROUTE, MESSAGES_ROUTE, EMBEDDINGS_ROUTE].map((route) => [route.path, route]),
);
