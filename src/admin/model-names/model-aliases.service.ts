import { Injectable } from '@nestjs/common';
import { DataSource, MoreThan } from 'typeorm';
import { ModelAlias } from '../../upstreams/entities/model-alias.entity';
import { Upstream } from '../../upstreams/entities/upstream.entity';
import { UpstreamDirectory } from '../../upstreams/upstream-directory';
import { audit } from '../audit/audit-trail';
import type { NamedPageQuery } from '../paging/named-page';
import { type Page, pageOf } from '../paging/page';
import { conflict, invalid, notFound } from '../refusals';
import type { DeletedModelAliasDto, ModelAliasDto, SetModelAliasDto } from './model-alias.dto';

/** Other names of models. One level: what an alias names is never an alias. */
@Injectable()
export class ModelAliasesService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly directory: UpstreamDirectory,
  ) {}

  async list(query: NamedPageQuery): Promise<Page<ModelAliasDto>> {
    const rows = await this.dataSource.getRepository(ModelAlias).find({
      where: query.after === undefined ? {} : { alias: MoreThan(query.after) },
      order: { alias: 'ASC' },
      take: query.limit + 1,
    });
    const named = rows.map((row) => ({ id: row.alias, row }));
    return pageOf(named, query.limit, ({ row }) => render(row));
  }

  async get(alias: string): Promise<Readonly<ModelAliasDto>> {
    const row = await this.dataSource.getRepository(ModelAlias).findOneBy({ alias });
    if (!row) throw notFound('alias');
    return render(row);
  }

  /** Makes it or changes it: sent twice it is the same. */
  async set(alias: string, { model }: SetModelAliasDto, actor: string): Promise<Readonly<ModelAliasDto>> {
    if (model === alias) throw invalid('model', 'must be another name than the alias');
    const set = await this.dataSource.transaction(async (manager) => {
      // Of two at once the second sees the first: together they could make an alias of an alias.
      await manager.query('lock table model_alias in share row exclusive mode');
      if (await manager.existsBy(Upstream, { model: alias })) {
        throw conflict('alias', 'upstreams have a model of this name');
      }
      if (await manager.existsBy(ModelAlias, { alias: model })) {
        throw conflict('model', 'this is an alias itself: name the model that it names');
      }
      if (await manager.existsBy(ModelAlias, { model: alias })) {
        throw conflict('alias', 'another alias names this as its model');
      }
      const standing = await manager.findOneBy(ModelAlias, { alias });
      const before = standing ? render(standing) : undefined;
      const row = await manager.save(Object.assign(standing ?? manager.create(ModelAlias, { alias }), { model }));
      const after = render(row);
      const action = before ? 'update' : 'create';
      await audit(manager, { actor, action, entity: 'model_alias', entityId: alias, before, after });
      return after;
    });
    this.directory.invalidate();
    return set;
  }

  async delete(alias: string, actor: string): Promise<Readonly<DeletedModelAliasDto>> {
    await this.dataSource.transaction(async (manager) => {
      const row = await manager.findOne(ModelAlias, { where: { alias }, lock: { mode: 'pessimistic_write' } });
      if (!row) throw notFound('alias');
      await manager.delete(ModelAlias, { alias });
      await audit(manager, { actor, action: 'delete', entity: 'model_alias', entityId: alias, before: render(row) });
    });
    this.directory.invalidate();
    return { object: 'model_alias', alias, deleted: true };
  }
}

function render(row: ModelAlias): Readonly<ModelAliasDto> {
  return {
    object: 'model_alias',
    alias: row.alias,
    model: row.model,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}
