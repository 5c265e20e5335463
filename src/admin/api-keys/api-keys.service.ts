import { Inject, Injectable } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { ApiKeyAuthenticator } from '../../auth/api-key-authenticator';
import { ApiKeyHasher } from '../../auth/api-key-hasher';
import { ApiKey } from '../../auth/api-key.entity';
import { Tenant } from '../../auth/tenant.entity';
import { forgetInLog } from '../../billing/request-log/forget-in-log';
import { CLOCK, type Clock } from '../../kernel/clock';
import { newId } from '../../kernel/ids';
import { CounterViews } from '../limits/counter-views';
import { changedLimit } from '../limits/usd-limits';
import type { Page } from '../paging/page';
import { invalid, notFound } from '../refusals';
import { requireGroup, requireOpenTenant, requireUser } from '../tenant-rows/references';
import { TenantRows } from '../tenant-rows/tenant-rows';
import { keyLimits, renderKey } from './api-key-rendering';
import type {
  ApiKeyDetailDto,
  ApiKeyDto,
  ApiKeyQuery,
  CreateApiKeyDto,
  CreatedApiKeyDto,
  DeletedDto,
  UpdateApiKeyDto,
} from './api-key.dto';

/** Keys of tenants. What is stored of a key authenticates nobody; the key itself leaves once, when it is made. */
@Injectable()
export class ApiKeysService {
  private readonly rows: TenantRows<ApiKey, Readonly<ApiKeyDto>>;

  constructor(
    private readonly dataSource: DataSource,
    private readonly hasher: ApiKeyHasher,
    private readonly counters: CounterViews,
    authenticator: ApiKeyAuthenticator,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {
    const kind = { entity: ApiKey, audited: 'api_key', called: 'api key', render: renderKey } as const;
    this.rows = new TenantRows(dataSource, kind, ({ id }) => {
      authenticator.keyChanged(id);
    });
  }

  async create(tenantId: string, dto: CreateApiKeyDto, actor: string): Promise<Readonly<CreatedApiKeyDto>> {
    const { key, digest, hint } = this.hasher.newKey();
    const now = new Date();
    const created = await this.rows.create(actor, async (manager) => {
      await requireOpenTenant(manager, tenantId, 'id');
      const row = Object.assign(new ApiKey(), {
        id: newId(),
        tenantId,
        name: dto.name,
        digest,
        hint,
        allowedModels: null,
        expiresAt: null,
        revokedAt: null,
        userId: null,
        groupId: null,
        budgetNanoUsd: null,
        limit5hNanoUsd: null,
        limit1dNanoUsd: null,
        limit7dNanoUsd: null,
        createdAt: now,
        updatedAt: now,
      } satisfies Readonly<ApiKey>);
      await this.apply(dto, row, manager);
      return row;
    });
    return { ...created, key };
  }

  async list(tenantId: string, query: ApiKeyQuery): Promise<Page<ApiKeyDto>> {
    if (!(await this.dataSource.getRepository(Tenant).existsBy({ id: tenantId }))) throw notFound('tenant');
    return this.rows.list(query, { tenantId, userId: query.user_id, groupId: query.group_id });
  }

  async get(id: string): Promise<Readonly<ApiKeyDetailDto>> {
    const row = await this.rows.find(id);
    const tenant = await this.dataSource.getRepository(Tenant).findOneByOrFail({ id: row.tenantId });
    const scopes = this.counters.scopesOf(tenant, { key: keyLimits(row) });
    return { ...renderKey(row), usage: await this.counters.of(tenant.id, scopes) };
  }

  update(id: string, dto: UpdateApiKeyDto, actor: string): Promise<Readonly<ApiKeyDto>> {
    return this.rows.change(id, 'update', actor, (row, manager) => this.apply(dto, row, manager));
  }

  /** For good; every process refuses the key within seconds. Revoking twice changes nothing. */
  revoke(id: string, actor: string): Promise<Readonly<ApiKeyDto>> {
    return this.rows.change(id, 'revoke', actor, (row) => {
      row.revokedAt ??= new Date(this.clock.nowMs());
    });
  }

  /** Its history stays: money rows carry the key's name, log rows lose only the link. */
  async delete(id: string, actor: string): Promise<Readonly<DeletedDto>> {
    await forgetInLog(this.dataSource, 'api_key', id);
    return this.rows.delete(id, actor);
  }

  /** User and group stay locked until the key names them: neither is deleted in between. */
  private async apply(dto: Readonly<UpdateApiKeyDto>, row: ApiKey, manager: EntityManager): Promise<void> {
    const { tenantId } = row;
    row.name = dto.name ?? row.name;
    if (dto.allowed_models !== undefined) row.allowedModels = dto.allowed_models;
    if (dto.expires_at !== undefined) row.expiresAt = this.expiryOf(dto.expires_at);
    row.budgetNanoUsd = changedLimit(dto.budget_usd, row.budgetNanoUsd);
    row.limit5hNanoUsd = changedLimit(dto.limit_5h_usd, row.limit5hNanoUsd);
    row.limit1dNanoUsd = changedLimit(dto.limit_1d_usd, row.limit1dNanoUsd);
    row.limit7dNanoUsd = changedLimit(dto.limit_7d_usd, row.limit7dNanoUsd);
    if (dto.user_id) await requireUser(manager, { id: dto.user_id, tenantId });
    if (dto.group_id) await requireGroup(manager, { id: dto.group_id, tenantId });
    if (dto.user_id !== undefined) row.userId = dto.user_id;
    if (dto.group_id !== undefined) row.groupId = dto.group_id;
  }

  private expiryOf(text: string | null): Date | null {
    if (text === null) return null;
    const expiresAt = new Date(text);
    if (!(expiresAt.getTime() > this.clock.nowMs())) throw invalid('expires_at', 'must lie in the future');
    return expiresAt;
  }
}
