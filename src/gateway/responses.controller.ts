import { applyDecorators, Controller, Delete, Get, HttpCode, Param, Post, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiParam, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal';
import { refuse, RefusalError } from '../kernel/errors';
import { Caller } from './http/caller';
import { InferenceDocs } from './inference-docs.decorator';
import { RESPONSES_ROUTE } from './inference-route';
import { InferenceRuns } from './inference-runs';

/** A route of stored responses: it is there to say that there are none. */
function StoredResponse(summary: string): MethodDecorator {
  return applyDecorators(
    ApiTags('data plane'),
    ApiBearerAuth('api-key'),
    ApiOperation({ summary, description: 'Responses are not kept: always 404.' }),
    ApiParam({ name: 'response_id' }),
    ApiResponse({ status: 404, description: 'Responses are not kept.' }),
  );
}

/** The OpenAI responses API. What it answers is not kept, whatever `store` says. */
@Controller()
export class ResponsesController {
  constructor(private readonly runs: InferenceRuns) {}

  @Post(RESPONSES_ROUTE.path)
  @HttpCode(200)
  @InferenceDocs({
    summary: 'Response, streamed or whole',
    description:
      'The OpenAI responses API. Where the provider speaks it too, bytes are passed on untouched; translated for another ' +
      'provider, what cannot be said there is a 400 that names the field. Responses are not kept: a call that builds on ' +
      'another one (`previous_response_id`, `conversation`) is a 400, its input belongs into `input`.',
    required: ['model', 'input'],
    answer: 'A response, or an event stream that ends with `response.completed` or `response.incomplete`.',
  })
  async create(@Caller() caller: Principal, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    await this.runs.answer(RESPONSES_ROUTE, request, reply, caller);
  }

  @Get(`${RESPONSES_ROUTE.path}/:response_id`)
  @HttpCode(404)
  @StoredResponse('A stored response')
  retrieve(@Param('response_id') id: string): never {
    throw notKept(id);
  }

  @Get(`${RESPONSES_ROUTE.path}/:response_id/input_items`)
  @HttpCode(404)
  @StoredResponse('The input of a stored response')
  inputItems(@Param('response_id') id: string): never {
    throw notKept(id);
  }

  @Delete(`${RESPONSES_ROUTE.path}/:response_id`)
  @HttpCode(404)
  @StoredResponse('Deletes a stored response')
  remove(@Param('response_id') id: string): never {
    throw notKept(id);
  }

  @Post(`${RESPONSES_ROUTE.path}/:response_id/cancel`)
  @HttpCode(404)
  @StoredResponse('Cancels a response that runs in the background')
  cancel(@Param('response_id') id: string): never {
    throw notKept(id);
  }
}

function notKept(id: string): RefusalError {
  const what = `the response ${id}, since responses are not kept`;
  return new RefusalError(refuse('NOT_FOUND', { param: 'response_id', values: { what } }));
}
