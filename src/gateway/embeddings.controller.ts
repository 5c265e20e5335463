import { Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal';
import { Caller } from './http/caller';
import { InferenceDocs } from './inference-docs.decorator';
import { EMBEDDINGS_ROUTE } from './inference-route';
import { InferenceRuns } from './inference-runs';

/** The OpenAI embeddings API. */
@Controller()
export class EmbeddingsController {
  constructor(private readonly runs: InferenceRuns) {}

  @Post(EMBEDDINGS_ROUTE.path)
  @HttpCode(200)
  @InferenceDocs({
    summary: 'Embeddings of texts or tokens',
    description: 'The OpenAI embeddings API, of providers that speak it. Unknown fields are passed on untouched.',
    required: ['model', 'input'],
    answer: 'A list of embeddings, in the encoding that was asked for.',
  })
  async embed(@Caller() caller: Principal, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    await this.runs.answer(EMBEDDINGS_ROUTE, request, reply, caller);
  }
}
