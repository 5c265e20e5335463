import { Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal';
import { Caller } from './http/caller';
import { InferenceDocs } from './inference-docs.decorator';
import { CHAT_ROUTE } from './inference-route';
import { InferenceRuns } from './inference-runs';

/** The OpenAI chat completions API. */
@Controller()
export class ChatCompletionsController {
  constructor(private readonly runs: InferenceRuns) {}

  @Post(CHAT_ROUTE.path)
  @HttpCode(200)
  @InferenceDocs({
    summary: 'Chat completion, streamed or whole',
    description:
      'The OpenAI chat completions API. Fields that Tollgate does not know are passed on untouched where the provider speaks ' +
      'it too; translated for another provider, what cannot be said there is a 400 that names the field.',
    required: ['model', 'messages'],
    answer: 'A chat completion, or an event stream that ends with `data: [DONE]`.',
  })
  async complete(
    @Caller() caller: Principal,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    await this.runs.answer(CHAT_ROUTE, request, reply, caller);
  }
}
