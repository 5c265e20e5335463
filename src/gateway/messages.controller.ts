import { Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import { ApiHeader, ApiQuery } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal';
import { ANTHROPIC_VERSION } from './errors/error-dialect';
import { Caller } from './http/caller';
import { InferenceDocs } from './inference-docs.decorator';
import { MESSAGES_ROUTE } from './inference-route';
import { InferenceRuns } from './inference-runs';

/** The Anthropic messages API; its clients' base URL has no `/v1`. */
@Controller()
export class MessagesController {
  constructor(private readonly runs: InferenceRuns) {}

  @Post(MESSAGES_ROUTE.path)
  @HttpCode(200)
  @InferenceDocs({
    summary: 'Message, streamed or whole',
    description:
      'The Anthropic messages API, errors and `anthropic-ratelimit-*` headers included. Where the provider speaks it too, ' +
      'bytes and betas are passed on untouched; translated for another provider, what cannot be said there is a 400 that ' +
      'names the field.',
    required: ['model', 'messages', 'max_tokens'],
    answer: 'A message, or an event stream that ends with `event: message_stop`.',
  })
  @ApiHeader({ name: ANTHROPIC_VERSION, required: false, description: 'Passed on to a provider of Anthropic’s API.' })
  @ApiHeader({ name: 'anthropic-beta', required: false, description: 'Passed on to a provider of Anthropic’s API.' })
  @ApiQuery({
    name: 'beta',
    required: false,
    schema: { type: 'string', enum: ['true'] },
    description: 'Passed on too.',
  })
  async create(@Caller() caller: Principal, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    await this.runs.answer(MESSAGES_ROUTE, request, reply, caller);
  }
}
