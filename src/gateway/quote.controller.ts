import { Controller, HttpCode, Inject, Post, Query, Req, Res } from '@nestjs/common';
import {
  ApiBearerAuth,
  ApiBody,
  ApiOkResponse,
  ApiOperation,
  ApiProperty,
  ApiQuery,
  ApiResponse,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal';
import { CLOCK, type Clock } from '../kernel/clock';
import { refuse, type Refusal, RefusalError } from '../kernel/errors';
import { nanoUsd, toDecimalUsd } from '../kernel/money';
import { localeOf } from '../platform/i18n/render-message';
import type { Measure } from '../quota/scopes/scope';
import { Caller } from './http/caller';
import { InferenceExchange } from './inference-exchange';
import { CHAT_ROUTE, INFERENCE_ROUTES, type InferenceRoute, MESSAGES_ROUTE } from './inference-route';
import { ANTHROPIC_VERSION } from './errors/error-dialect';
import { renderOpenAiError } from './errors/openai-error';
import type { QuotedLimit } from './quoted-limit';
import { Quotes } from './quotes';
import { openAiRateLimitHeaders } from './rate-limit-headers';

export class EstimatedTokens {
  @ApiProperty({ description: 'Text bytes / 3, images and audio by the constants of the model.', example: 12 })
  input!: number;

  @ApiProperty({ description: 'What is reserved for the answer, all choices together.', example: 1024 })
  output!: number;
}

export class BindingLimit {
  @ApiProperty({ description: '`balance`, or one of the limits of a reservation.', example: 'tenant_day' })
  scope!: string;

  @ApiProperty({ enum: ['requests', 'usd', 'tokens'] })
  measure!: Measure;

  @ApiProperty({
    description: 'Requests and tokens as numbers, US dollars as decimal text. Null for the balance.',
    oneOf: [{ type: 'number' }, { type: 'string' }, { type: 'null' }],
    example: 1000,
  })
  limit!: number | string | null;

  @ApiProperty({
    description: 'Without this call.',
    oneOf: [{ type: 'number' }, { type: 'string' }, { type: 'null' }],
    example: 41,
  })
  used!: number | string | null;

  @ApiProperty({ oneOf: [{ type: 'number' }, { type: 'string' }], example: 959 })
  remaining!: number | string;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'Null where time alone frees nothing.',
  })
  resets_at!: string | null;
}

export class QuotedRefusal {
  @ApiProperty({ description: 'HTTP status of the refusal.', example: 429 })
  status!: number;

  @ApiProperty({ example: 'QUOTA_DAILY_EXCEEDED' })
  code!: string;

  @ApiProperty({ example: 'rate_limit_exceeded' })
  type!: string;

  @ApiProperty()
  message!: string;
}

export class QuoteResponse {
  @ApiProperty({ enum: ['quote'] })
  object!: 'quote';

  @ApiProperty({ example: 'gpt-4o-mini' })
  model!: string;

  @ApiProperty({ description: 'Whether the call would be sent to a provider now.' })
  passes!: boolean;

  @ApiProperty({ description: 'The most the call may cost, as a reservation holds it.', example: '0.000617000' })
  estimate_usd!: string;

  @ApiProperty({ type: EstimatedTokens })
  estimated_tokens!: Readonly<EstimatedTokens>;

  @ApiProperty({
    enum: ['wallet', 'allowance', 'subscription'],
    nullable: true,
    description: 'Who would pay; null where the call would be refused, or nothing is charged.',
  })
  funding!: string | null;

  @ApiProperty({
    type: BindingLimit,
    nullable: true,
    description: 'The limit that refuses; of a call that passes, the one that as many more of it would reach first.',
  })
  binding_limit!: Readonly<BindingLimit> | null;

  @ApiProperty({
    type: QuotedRefusal,
    nullable: true,
    description: 'What a limit or the balance refuses the call with. In shadow mode it passes all the same.',
  })
  refusal!: Readonly<QuotedRefusal> | null;
}

const QUOTE_PATH = '/v1/quote';

/** `POST /v1/quote`: what would become of a call with this body. */
@Controller(QUOTE_PATH)
@ApiTags('Account')
@ApiBearerAuth('api-key')
export class QuoteController {
  constructor(
    private readonly quotes: Quotes,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  @Post()
  @HttpCode(200)
  @ApiOperation({
    summary: 'Dry run of a call: does it pass, what may it cost, which limit binds',
    description:
      'Takes the body that would be sent to the route. Nothing is reserved, counted or sent to a provider, so the answer ' +
      'may be out of date when the call is made. An error is one the call would meet before its reservation.',
  })
  @ApiQuery({
    name: 'route',
    required: false,
    schema: { type: 'string', enum: [...INFERENCE_ROUTES.keys()] },
    description: `Where the body would be sent: ${CHAT_ROUTE.path} unless said otherwise, ${MESSAGES_ROUTE.path} for clients that send \`anthropic-version\`.`,
  })
  @ApiBody({ schema: { type: 'object', required: ['model'], additionalProperties: true } })
  @ApiOkResponse({ type: QuoteResponse })
  @ApiResponse({ status: 400, description: 'The body is not valid, or the model has no price.' })
  @ApiResponse({ status: 403, description: 'The key may not use the model.' })
  @ApiResponse({ status: 404, description: 'There is no such model.' })
  @ApiResponse({ status: 503, description: 'The quota cannot be asked at the moment.' })
  async quote(
    @Caller() caller: Principal,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Query('route') route: unknown,
  ): Promise<Readonly<QuoteResponse>> {
    const exchange = new InferenceExchange(request, reply, this.clock, quotedRoute(request, route));
    const context = exchange.begin(caller);
    const quote = await this.quotes.quote(context);
    if ('code' in quote) throw new RefusalError(quote);
    void reply.headers(openAiRateLimitHeaders(quote.rateLimits, this.clock.nowMs()));
    return {
      object: 'quote',
      model: context.validation.request.model,
      passes: quote.passes,
      estimate_usd: toDecimalUsd(quote.estimate),
      estimated_tokens: { input: quote.tokens.inputTokens, output: quote.tokens.outputTokens },
      funding: quote.funding,
      binding_limit: quote.limit ? renderLimit(quote.limit) : null,
      refusal: quote.refusal ? this.renderRefusal(quote.refusal, request) : null,
    };
  }

  private renderRefusal(refusal: Refusal, request: FastifyRequest): Readonly<QuotedRefusal> {
    const locale = localeOf(request.headers['accept-language']);
    const { status, body } = renderOpenAiError(refusal, { locale, nowMs: this.clock.nowMs() });
    const { code, type, message } = body.error;
    return { status, code, type, message };
  }
}

/** Of whose calls the body is: as the query says, else as the client's headers do. */
function quotedRoute({ headers }: FastifyRequest, route: unknown): InferenceRoute {
  const isAnthropics = headers[ANTHROPIC_VERSION] !== undefined;
  if (route === undefined) return { ...(isAnthropics ? MESSAGES_ROUTE : CHAT_ROUTE), path: QUOTE_PATH };
  const found = typeof route === 'string' ? INFERENCE_ROUTES.get(route) : undefined;
  if (found) return { ...found, path: QUOTE_PATH };
  const reason = `must be one of ${[...INFERENCE_ROUTES.keys()].join(', ')}`;
  throw new RefusalError(refuse('INVALID_REQUEST', { param: 'route', values: { reason } }));
}

function renderLimit(quoted: QuotedLimit): Readonly<BindingLimit> {
  const { scope, measure, limit, used, remaining, resetsAtMs } = quoted;
  const shown = (value: bigint): number | string => (measure === 'usd' ? toDecimalUsd(nanoUsd(value)) : Number(value));
  return {
    scope,
    measure,
    limit: limit === null ? null : shown(limit),
    used: used === null ? null : shown(used),
    remaining: shown(remaining),
    resets_at: resetsAtMs === undefined ? null : new Date(resetsAtMs).toISOString(),
  };
}
