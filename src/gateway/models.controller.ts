import { Controller, Get, Headers, Param } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOkResponse, ApiOperation, ApiParam, ApiProperty, ApiTags } from '@nestjs/swagger';
import type { Principal } from '../auth/principal';
import { refuse, RefusalError } from '../kernel/errors';
import { type ListedModel, UpstreamDirectory } from '../upstreams/upstream-directory';
import { ANTHROPIC_VERSION } from './errors/error-dialect';
import { Caller } from './http/caller';

export class OpenAiModel {
  @ApiProperty({ example: 'gpt-4o-mini' })
  id!: string;

  @ApiProperty({ enum: ['model'] })
  object!: 'model';

  @ApiProperty({ description: 'Since when this gateway serves it, seconds since the Unix epoch.' })
  created!: number;

  @ApiProperty({ example: 'tollgate' })
  owned_by!: string;
}

export class OpenAiModelList {
  @ApiProperty({ enum: ['list'] })
  object!: 'list';

  @ApiProperty({ type: [OpenAiModel] })
  data!: OpenAiModel[];
}

/** The same as Anthropic's clients know it: sent where the request carries `anthropic-version`. */
interface AnthropicModel {
  readonly type: 'model';
  readonly id: string;
  readonly display_name: string;
  readonly created_at: string;
}

interface AnthropicModelList {
  readonly data: readonly AnthropicModel[];
  readonly has_more: false;
  readonly first_id: string | null;
  readonly last_id: string | null;
}

/** What the caller's key may ask for, whole: `limit` and cursors of either dialect are accepted and change nothing. */
@Controller('v1/models')
@ApiTags('Models')
@ApiBearerAuth('api-key')
@ApiHeader({ name: ANTHROPIC_VERSION, required: false, description: 'Answers in the shape of Anthropic’s API.' })
export class ModelsController {
  constructor(private readonly upstreams: UpstreamDirectory) {}

  @Get()
  @ApiOperation({ summary: 'Models this key may ask for' })
  @ApiOkResponse({ type: OpenAiModelList })
  async list(
    @Caller() caller: Principal,
    @Headers(ANTHROPIC_VERSION) anthropicVersion: string | undefined,
  ): Promise<Readonly<OpenAiModelList> | AnthropicModelList> {
    const served = await this.served(caller);
    if (anthropicVersion === undefined) return { object: 'list', data: served.map(openAiModel) };
    return {
      data: served.map(anthropicModel),
      has_more: false,
      first_id: served[0]?.model ?? null,
      last_id: served.at(-1)?.model ?? null,
    };
  }

  /** Names such as `meta/llama-3` contain slashes: the whole rest of the path is the name. */
  @Get('*')
  @ApiOperation({ summary: 'One model' })
  @ApiParam({ name: 'path', description: 'Name of the model, slashes included.' })
  @ApiOkResponse({ type: OpenAiModel })
  async get(
    @Caller() caller: Principal,
    @Headers(ANTHROPIC_VERSION) anthropicVersion: string | undefined,
    @Param() { '*': model }: { readonly '*': string },
  ): Promise<Readonly<OpenAiModel> | AnthropicModel> {
    const served = await this.served(caller);
    const found = served.find((listed) => listed.model === model);
    if (!found) throw new RefusalError(refuse('MODEL_NOT_FOUND', { param: 'model', values: { model } }));
    return anthropicVersion === undefined ? openAiModel(found) : anthropicModel(found);
  }

  private async served({ allowedModels }: Principal): Promise<readonly ListedModel[]> {
    const listed = await this.upstreams.listModels();
    if (allowedModels === null) return listed;
    return listed.filter(({ model, servedModel }) => allowedModels.has(model) || allowedModels.has(servedModel));
  }
}

function openAiModel({ model, sinceMs }: ListedModel): Readonly<OpenAiModel> {
  return { id: model, object: 'model', created: Math.floor(sinceMs / 1_000), owned_by: 'tollgate' };
}

function anthropicModel({ model, sinceMs }: ListedModel): AnthropicModel {
  return { type: 'model', id: model, display_name: model, created_at: new Date(sinceMs).toISOString() };
}
