import { Inject, Injectable } from '@nestjs/common';
import { DataSource, LessThan } from 'typeorm';
import { ApiKeyAuthenticator } from '../../auth/api-key-authenticator';
import { ApiKeyHasher } from '../../auth/api-key-hasher';
import { ApiKey } from '../../auth/api-key.entity';
import { Tenant } from '../../auth/tenant.entity';
import { CLOCK, type Clock } from '../../kernel/clock';
import { newId } from '../../kernel/ids';
import { audit, type AuditAction } from '../audit/audit-trail';
import { type Page, pageOf } from '../paging/page';
import type { PageQuery } from '../paging/page-query.dto';
import { conflict, invalid, notFound } from '../refusals';
import type { ApiKeyDto, CreateApiKeyDto, CreatedApiKeyDto, DeletedDto, UpdateApiKeyDto } from './api-key.dto';

/** Keys of tenants. What is stored of a key authenticates nobody; the key itself leaves once, when it is made. */
@Injectable()
export class ApiKeysService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly hasher: ApiKeyHasher,
    private readonly authenticator: ApiKeyAuthenticator,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async create(tenantId: string, dto: CreateApiKeyDto, actor: string): Promise<Readonly<CreatedApiKeyDto>> {
    const { key, digest, hint } = this.hasher.newKey();
    const now = new Date();
    const row = Object.assign(new ApiKey(), {
      id: newId(),
      tenantId,
      name: dto.name,
      digest,
      hint,
      allowedModels: dto.allowed_models ?? null,
      expiresAt: this.expiryOf(dto.expires_at ?? null),
      revokedAt: null,
      createdAt: now,
      updatedAt: now,
    } satisfies Readonly<ApiKey>);
    await this.dataSource.transaction(async (manager) => {
      // Locked against a closing under way: no key appears after it.
      const tenant = await manager.findOne(Tenant, { where: { id: tenantId }, lock: { mode: 'pessimistic_read' } });
      if (!tenant) throw notFound('tenant');
      if (tenant.status === 'closed') throw conflict('id', 'the tenant is closed');
      await manager.insert(ApiKey, row);
      await audit(manager, { actor, action: 'create', entity: 'api_key', entityId: row.id, after: render(row) });
    });
    this.authenticator.keyChanged(row.id);
    return { ...render(row), key };
  }

  async list(tenantId: string, query: PageQuery): Promise<Page<ApiKeyDto>> {
    if (!(await this.dataSource.getRepository(Tenant).existsBy({ id: tenantId }))) throw notFound('tenant');
    const rows = await this.dataSource.getRepository(ApiKey).find({
      where: { tenantId, ...(query.after === undefined ? {} : { id: LessThan(query.after) }) },
      order: { id: 'DESC' },
      take: query.limit + 1,
    });
    return pageOf(rows, query.limit, render);
  }

  async get(id: string): Promise<Readonly<ApiKeyDto>> {
    const row = await this.dataSource.getRepository(ApiKey).findOneBy({ id });
    if (!row) throw notFound('api key');
    return render(row);
  }

  update(id: string, dto: UpdateApiKeyDto, actor: string): Promise<Readonly<ApiKeyDto>> {
    return this.change(id, 'update', actor, (row) => {
      row.name = dto.name ?? row.name;
      if (dto.allowed_models !== undefined) row.allowedModels = dto.allowed_models;
      if (dto.expires_at !== undefined) row.expiresAt = this.expiryOf(dto.expires_at);
    });
  }

  /** For good; every process refuses the key within seconds. Revoking twice changes nothing. */
  revoke(id: string, actor: string): Promise<Readonly<ApiKeyDto>> {
    return this.change(id, 'revoke', actor, (row) => {
      row.revokedAt ??= new Date(this.clock.nowMs());
    });
  }

  /** Its history stays: money rows carry the key's name, log rows lose only the link. */
  async delete(id: string, actor: string): Promise<Readonly<DeletedDto>> {
    await this.dataSource.transaction(async (manager) => {
      const row = await manager.findOne(ApiKey, { where: { id }, lock: { mode: 'pessimistic_write' } });
      if (!row) throw notFound('api key');
      await manager.delete(ApiKey, { id });
      await audit(manager, { actor, action: 'delete', entity: 'api_key', entityId: id, before: render(row) });
    });
    this.authenticator.keyChanged(id);
    return { id, object: 'api_key', deleted: true };
  }

  private async change(
    id: string,
    action: AuditAction,
    actor: string,
    work: (row: ApiKey) => void,
  ): Promise<Readonly<ApiKeyDto>> {
    const changed = await this.dataSource.transaction(async (manager) => {
      const row = await manager.findOne(ApiKey, { where: { id }, lock: { mode: 'pessimistic_write' } });
      if (!row) throw notFound('api key');
      const before = render(row);
      work(row);
      const after = render(await manager.save(row));
      await audit(manager, { actor, action, entity: 'api_key', entityId: id, before, after });
      return after;
    });
    this.authenticator.keyChanged(id);
    return changed;
  }

  private expiryOf(text: string | null): Date | null {
    if (text === null) return null;
    const expiresAt = new Date(text);
    if (!(expiresAt.getTime() > this.clock.nowMs())) throw invalid('expires_at', 'must lie in the future');
    return expiresAt;
  }
}

function render(row: ApiKey): Readonly<ApiKeyDto> {
  return {
    id: row.id,
    object: 'api_key',
    tenant_id: row.tenantId,
    name: row.name,
    hint: row.hint,
    allowed_models: row.allowedModels,
    expires_at: row.expiresAt?.toISOString() ?? null,
    revoked_at: row.revokedAt?.toISOString() ?? null,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}
