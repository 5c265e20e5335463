import { Injectable } from '@nestjs/common';
import { DataSource, type EntityManager, In } from 'typeorm';
import { ModelFallback } from '../../upstreams/entities/model-fallback.entity';
import { UpstreamDirectory } from '../../upstreams/upstream-directory';
import { audit } from '../audit/audit-trail';
import type { NamedPageQuery } from '../paging/named-page';
import { type Page, pageOf } from '../paging/page';
import { conflict, invalid, notFound } from '../refusals';
import type { DeletedModelFallbacksDto, ModelFallbacksDto, SetModelFallbacksDto } from './model-fallback.dto';

/** Which models stand in for which. No model stands in for itself, also not by way of others. */
@Injectable()
export class ModelFallbacksService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly directory: UpstreamDirectory,
  ) {}

  async list(query: NamedPageQuery): Promise<Page<ModelFallbacksDto>> {
    const fallbacks = this.dataSource.getRepository(ModelFallback);
    const names = fallbacks.createQueryBuilder('f').select('f.model', 'model').distinct().orderBy('f.model');
    if (query.after !== undefined) names.where('f.model > :after', { after: query.after });
    const models = (await names.limit(query.limit + 1).getRawMany<{ model: string }>()).map(({ model }) => model);
    const rows = await fallbacks.find({ where: { model: In(models) }, order: { position: 'ASC' } });
    return pageOf(
      models.map((model) => ({ id: model })),
      query.limit,
      ({ id }) => render(id, rows),
    );
  }

  async get(model: string): Promise<Readonly<ModelFallbacksDto>> {
    const rows = await standing(this.dataSource.manager, model);
    if (rows.length === 0) throw notFound('model with fallbacks');
    return render(model, rows);
  }

  /** Replaces what stood: sent twice it is the same. */
  async set(model: string, dto: SetModelFallbacksDto, actor: string): Promise<Readonly<ModelFallbacksDto>> {
    const { fallback_models: names } = dto;
    if (names.includes(model)) throw invalid('fallback_models', 'a model cannot stand in for itself');
    const set = await this.dataSource.transaction(async (manager) => {
      // Of two at once the second sees the first: together they could make a circle.
      await manager.query('lock table model_fallback in share row exclusive mode');
      const all = await manager.find(ModelFallback);
      const over = wayBack(model, names, all);
      if (over !== undefined) throw conflict('fallback_models', `'${model}' already stands in for '${over}'`);
      const stood = await standing(manager, model);
      await manager.delete(ModelFallback, { model });
      const createdAt = new Date();
      const rows = names.map((fallbackModel, position) =>
        Object.assign(new ModelFallback(), { model, position, fallbackModel, createdAt }),
      );
      await manager.insert(ModelFallback, rows);
      const before = stood.length > 0 ? render(model, stood) : undefined;
      const after = render(model, rows);
      const action = before ? 'update' : 'create';
      await audit(manager, { actor, action, entity: 'model_fallback', entityId: model, before, after });
      return after;
    });
    this.directory.invalidate();
    return set;
  }

  async delete(model: string, actor: string): Promise<Readonly<DeletedModelFallbacksDto>> {
    await this.dataSource.transaction(async (manager) => {
      await manager.query('lock table model_fallback in share row exclusive mode');
      const stood = await standing(manager, model);
      if (stood.length === 0) throw notFound('model with fallbacks');
      await manager.delete(ModelFallback, { model });
      const before = render(model, stood);
      await audit(manager, { actor, action: 'delete', entity: 'model_fallback', entityId: model, before });
    });
    this.directory.invalidate();
    return { object: 'model_fallbacks', model, deleted: true };
  }
}

/** The first of the stand-ins from which fallbacks lead back to the model; each name is looked at once. */
function wayBack(model: string, standIns: readonly string[], all: readonly ModelFallback[]): string | undefined {
  const seen = new Set<string>();
  const leadsBack = (name: string): boolean => {
    if (name === model) return true;
    if (seen.has(name)) return false;
    seen.add(name);
    return all.some((row) => row.model === name && leadsBack(row.fallbackModel));
  };
  return standIns.find(leadsBack);
}

function standing(manager: EntityManager, model: string): Promise<ModelFallback[]> {
  return manager.find(ModelFallback, { where: { model }, order: { position: 'ASC' } });
}

/** @param rows in their order; those of other models are left out */
function render(model: string, rows: readonly ModelFallback[]): Readonly<ModelFallbacksDto> {
  const fallbacks = rows.filter((row) => row.model === model).map(({ fallbackModel }) => fallbackModel);
  return { object: 'model_fallbacks', model, fallback_models: fallbacks };
}
