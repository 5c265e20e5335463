import { Injectable } from '@nestjs/common';
import { DataSource, LessThan } from 'typeorm';
import { forgetInLog } from '../../billing/request-log/forget-in-log';
import { newId } from '../../kernel/ids';
import { SecretBox } from '../../platform/crypto/secret-box';
import { SQL_STATE, sqlStateOf } from '../../platform/database/sql-state';
import { BaseUrlPolicy, normaliseBaseUrl } from '../../upstreams/base-url-policy';
import { Provider } from '../../upstreams/entities/provider.entity';
import { Upstream } from '../../upstreams/entities/upstream.entity';
import { defaultDialects, dialectsOfKind } from '../../upstreams/provider-dialects';
import { UpstreamDirectory } from '../../upstreams/upstream-directory';
import type { ApiDialect, ProviderKind } from '../../upstreams/upstream.port';
import { RefusalError } from '../../kernel/errors';
import type { DeletedDto } from '../api-keys/api-key.dto';
import { audit } from '../audit/audit-trail';
import { type Page, pageOf } from '../paging/page';
import type { PageQuery } from '../paging/page-query.dto';
import { conflict, invalid, notFound } from '../refusals';
import type { CreateProviderDto, ProviderDto, UpdateProviderDto } from './provider.dto';

/** Accounts at model providers. Their keys go in sealed and never come out; base URLs pass the policy before they are saved. */
@Injectable()
export class ProvidersService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly secretBox: SecretBox,
    private readonly baseUrls: BaseUrlPolicy,
    private readonly directory: UpstreamDirectory,
  ) {}

  async create(dto: CreateProviderDto, actor: string): Promise<Readonly<ProviderDto>> {
    const id = newId();
    const now = new Date();
    const baseUrl = await this.checkedBaseUrl(dto.base_url);
    const row = Object.assign(new Provider(), {
      id,
      name: dto.name,
      kind: dto.kind,
      baseUrl,
      dialects: dto.dialects ? checkedDialects(dto.kind, dto.dialects) : defaultDialects(dto.kind, baseUrl),
      apiKeyEncrypted: this.secretBox.seal(dto.api_key, id),
      createdAt: now,
      updatedAt: now,
    });
    await this.dataSource
      .transaction(async (manager) => {
        await manager.insert(Provider, row);
        await audit(manager, { actor, action: 'create', entity: 'provider', entityId: id, after: render(row) });
      })
      .catch(refuseTakenName);
    return render(row);
  }

  async list(query: PageQuery): Promise<Page<ProviderDto>> {
    const rows = await this.dataSource.getRepository(Provider).find({
      where: query.after === undefined ? {} : { id: LessThan(query.after) },
      order: { id: 'DESC' },
      take: query.limit + 1,
    });
    return pageOf(rows, query.limit, render);
  }

  async get(id: string): Promise<Readonly<ProviderDto>> {
    const row = await this.dataSource.getRepository(Provider).findOneBy({ id });
    if (!row) throw notFound('provider');
    return render(row);
  }

  async update(id: string, dto: UpdateProviderDto, actor: string): Promise<Readonly<ProviderDto>> {
    const baseUrl = dto.base_url === undefined ? undefined : await this.checkedBaseUrl(dto.base_url);
    const changed = this.dataSource.transaction(async (manager) => {
      const row = await manager.findOne(Provider, { where: { id }, lock: { mode: 'pessimistic_write' } });
      if (!row) throw notFound('provider');
      const before = render(row);
      row.name = dto.name ?? row.name;
      row.baseUrl = baseUrl ?? row.baseUrl;
      if (dto.dialects) row.dialects = checkedDialects(row.kind, dto.dialects);
      if (dto.api_key !== undefined) row.apiKeyEncrypted = this.secretBox.seal(dto.api_key, id);
      const after = render(await manager.save(row));
      await audit(manager, {
        actor,
        action: 'update',
        entity: 'provider',
        entityId: id,
        before,
        // That the key was changed is worth knowing, what it is nobody may know.
        after: { ...after, ...(dto.api_key === undefined ? {} : { api_key: 'changed' }) },
      });
      return after;
    });
    return changed.catch(refuseTakenName).finally(() => {
      this.directory.invalidate();
    });
  }

  /** With its upstreams; money rows keep the names of both. */
  async delete(id: string, actor: string): Promise<Readonly<DeletedDto>> {
    const served = await this.dataSource
      .getRepository(Upstream)
      .find({ where: { providerId: id }, select: { id: true } });
    for (const upstream of served) await forgetInLog(this.dataSource, 'upstream', upstream.id);
    await this.dataSource.transaction(async (manager) => {
      const row = await manager.findOne(Provider, { where: { id }, lock: { mode: 'pessimistic_write' } });
      if (!row) throw notFound('provider');
      const upstreams = await manager.find(Upstream, { where: { providerId: id }, select: { id: true } });
      await manager.delete(Provider, { id });
      const before = { ...render(row), upstream_ids: upstreams.map((upstream) => upstream.id) };
      await audit(manager, { actor, action: 'delete', entity: 'provider', entityId: id, before });
    });
    this.directory.invalidate();
    return { id, object: 'provider', deleted: true };
  }

  private async checkedBaseUrl(baseUrl: string): Promise<string> {
    const refusal = await this.baseUrls.check(baseUrl);
    if (refusal) throw new RefusalError(refusal);
    return normaliseBaseUrl(baseUrl);
  }
}

/** In one order, however they were named. */
function checkedDialects(kind: ProviderKind, named: readonly ApiDialect[]): ApiDialect[] {
  const possible = dialectsOfKind(kind);
  if (named.some((dialect) => !possible.includes(dialect))) {
    throw invalid('dialects', `must be among ${possible.join(', ')} for a provider of the kind ${kind}`);
  }
  return possible.filter((dialect) => named.includes(dialect));
}

function refuseTakenName(error: unknown): never {
  if (sqlStateOf(error) === SQL_STATE.uniqueViolation) throw conflict('name', 'another provider has this name');
  throw error;
}

function render(row: Provider): Readonly<ProviderDto> {
  return {
    id: row.id,
    object: 'provider',
    name: row.name,
    kind: row.kind,
    base_url: row.baseUrl,
    dialects: row.dialects,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}
