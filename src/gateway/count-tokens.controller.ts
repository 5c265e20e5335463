import { Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import {
  ApiBearerAuth,
  ApiBody,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiProperty,
  ApiResponse,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal';
import { RefusalError } from '../kernel/errors';
import { REGION_HEADER } from '../routing/region';
import { ANTHROPIC_VERSION } from './errors/error-dialect';
import { Caller } from './http/caller';
import { forwardedOf, headerOf } from './http/forwarded';
import { MESSAGES_ROUTE } from './inference-route';
import { MessageTokenCounts } from './message-token-counts';

export class MessageTokenCount {
  @ApiProperty({ description: 'Of messages, system prompt and tools.', example: 2095 })
  input_tokens!: number;
}

/** Anthropic's clients ask before they send: never charged, never held. */
@Controller()
export class CountTokensController {
  constructor(private readonly counts: MessageTokenCounts) {}

  @Post(`${MESSAGES_ROUTE.path}/count_tokens`)
  @HttpCode(200)
  @ApiTags('data plane')
  @ApiBearerAuth('api-key')
  @ApiOperation({
    summary: 'How many tokens a message would be sent as',
    description:
      'Takes the body of /v1/messages without `max_tokens`. A provider of the model that speaks the Anthropic API is asked; ' +
      'else, and where it does not say, the gateway counts by a tokenizer that is not exactly the model’s. Costs nothing; ' +
      'a few such questions of an account are answered at a time.',
  })
  @ApiHeader({ name: ANTHROPIC_VERSION, required: false, description: 'Passed on to a provider of Anthropic’s API.' })
  @ApiHeader({ name: 'anthropic-beta', required: false, description: 'Passed on to a provider of Anthropic’s API.' })
  @ApiBody({ schema: { type: 'object', required: ['model', 'messages'], additionalProperties: true } })
  @ApiOkResponse({ type: MessageTokenCount })
  @ApiResponse({ status: 400, description: 'The body is not valid, or the provider says so.' })
  @ApiResponse({ status: 403, description: 'The key may not use the model.' })
  @ApiResponse({ status: 404, description: 'There is no such model.' })
  @ApiResponse({ status: 429, description: 'As many counts as may be are under way.' })
  @ApiResponse({ status: 503, description: 'No database can be reached at the moment.' })
  async count(
    @Caller() principal: Principal,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const forwarded = forwardedOf(request, MESSAGES_ROUTE.dialect);
    if ('code' in forwarded) throw new RefusalError(forwarded);
    const rawBody: unknown = request.body;
    const answer = await this.counts.count({
      principal,
      rawBody: Buffer.isBuffer(rawBody) ? rawBody : Buffer.alloc(0),
      forwarded,
      region: headerOf(request, REGION_HEADER),
    });
    if ('code' in answer) throw new RefusalError(answer);
    void reply.type('application/json').send(answer);
  }
}
