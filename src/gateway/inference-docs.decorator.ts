import { applyDecorators } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiHeader, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { IDEMPOTENCY_HEADER } from '../billing/idempotency/key-claim';
import { REGION, REGION_HEADER } from '../routing/region';

interface DocumentedRoute {
  readonly summary: string;
  readonly description: string;
  /** Members that a body has at least. */
  readonly required: readonly string[];
  readonly answer: string;
}

/**
 * What a route of inference says of itself in the OpenAPI document: but for its dialect all are the same. Beside it the
 * handler has `@HttpCode(200)`, which the compiler's Swagger plugin must see to document no 201.
 */
export function InferenceDocs({ summary, description, required, answer }: DocumentedRoute): MethodDecorator {
  return applyDecorators(
    ApiTags('data plane'),
    ApiBearerAuth('api-key'),
    ApiOperation({ summary, description }),
    ApiHeader({
      name: IDEMPOTENCY_HEADER,
      required: false,
      schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[!-~]+$' },
      description:
        'Makes it safe to send the request again: while it runs a repeat is answered 409 with retry-after; once it is charged ' +
        'the same bytes come again, streams included, with `idempotent-replayed: true` and the first request in ' +
        '`x-tollgate-original-request-id`, and cost nothing. What was not charged frees the key. Unique per API key, kept for ' +
        '24 hours from the first request; the same request is the same route and the same bytes of body.',
    }),
    ApiHeader({
      name: 'x-session-id',
      required: false,
      schema: { type: 'string', minLength: 1, maxLength: 256 },
      description: 'Names the conversation: its calls go to the same upstream while that answers.',
    }),
    ApiHeader({
      name: REGION_HEADER,
      required: false,
      schema: { type: 'string', pattern: REGION.source },
      description:
        'Only upstreams of this region may answer; where there is none, 503. The answer names the region of the upstream ' +
        'that answered under the same header, where it has one.',
    }),
    ApiBody({ schema: { type: 'object', required: [...required], additionalProperties: true } }),
    ApiResponse({ status: 200, description: answer }),
    ApiResponse({
      status: 400,
      description: 'The body is not valid, or says what no provider of the model can be told.',
    }),
    ApiResponse({
      status: 402,
      description: 'The balance or the budget of the key does not cover what the call may cost.',
    }),
    ApiResponse({
      status: 403,
      description: 'The subscription of the key does not count now, or the model is not allowed.',
    }),
    ApiResponse({ status: 404, description: 'There is no such model.' }),
    ApiResponse({
      status: 409,
      description:
        'The first request with this Idempotency-Key is still running (IDEMPOTENCY_KEY_IN_USE), or was charged and its answer ' +
        'was too large to keep (IDEMPOTENCY_ANSWER_NOT_KEPT).',
    }),
    ApiResponse({ status: 422, description: 'The Idempotency-Key was used for another request.' }),
    ApiResponse({ status: 429, description: 'A limit is reached; `code` says which, `window_resets_at` until when.' }),
    ApiResponse({
      status: 503,
      description:
        'No provider of the model, or no database, can be reached at the moment; `retry-after` says when to come again.',
    }),
  );
}
