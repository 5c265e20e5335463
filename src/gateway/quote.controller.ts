import { Controller, HttpCode, Inject, Post, Req, Res } from '@nestjs/common';
import {
  ApiBearerAuth,
  ApiBody,
  ApiOkResponse,
  ApiOperation,
  ApiProperty,
  ApiResponse,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal';
import { CLOCK, type Clock } from '../kernel/clock';
import { type Refusal, RefusalError } from '../kernel/errors';
import { nanoUsd, toDecimalUsd } from '../kernel/money';
import { localeOf } from '../platform/i18n/render-message';
import type { Measure } from '../quota/scopes/scope';
import { Caller } from './http/caller';
import { InferenceExchange } from './inference-exchange';
import type { InferenceRoute } from './inference-route';
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

const QUOTED: InferenceRoute = { path: '/v1/quote', dialect: 'openai-chat' };

/** `POST /v1/quote`: what would become of a chat completion with this body. */
@Controller('v1/quote')
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
    summary: 'Dry run of a chat completion: does it pass, what may it cost, which limit binds',
    description:
      'Takes the body that would be sent to /v1/chat/completions. Nothing is reserved, counted or sent to a provider, ' +
      'so the answer may be out of date when the call is made. An error is one the call would meet before its reservation.',
  })
  @ApiBody({ schema: { type: 'object', required: ['model', 'messages'], additionalProperties: true } })
  @ApiOkResponse({ type: QuoteResponse })
  @ApiResponse({ status: 400, description: 'The body is not valid, or the model has no price.' })
  @ApiResponse({ status: 403, description: 'The key may not use the model.' })
  @ApiResponse({ status: 404, description: 'There is no such model.' })
  @ApiResponse({ status: 503, description: 'The quota cannot be asked at the moment.' })
  async quote(
    @Caller() caller: Principal,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Readonly<QuoteResponse>> {
    const context = new InferenceExchange(request, reply, this.clock, QUOTED).begin(caller);
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
