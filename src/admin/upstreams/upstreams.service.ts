import { Injectable } from '@nestjs/common';
import { DataSource, LessThan } from 'typeorm';
import { forgetInLog } from '../../billing/request-log/forget-in-log';
import { nanoUsdOfPrice } from '../../catalogue/usd-price';
import { newId } from '../../kernel/ids';
import { type NanoUsd, toDecimalUsd } from '../../kernel/money';
import { Provider } from '../../upstreams/entities/provider.entity';
import { Upstream } from '../../upstreams/entities/upstream.entity';
import { UpstreamDirectory } from '../../upstreams/upstream-directory';
import type { DeletedDto } from '../api-keys/api-key.dto';
import { audit } from '../audit/audit-trail';
import { type Page, pageOf } from '../paging/page';
import { invalid, notFound } from '../refusals';
import type { CreateUpstreamDto, UpdateUpstreamDto, UpstreamDto, UpstreamQuery } from './upstream.dto';

const DEFAULT_PRIORITY = 0;
const DEFAULT_WEIGHT = 100;
const MAX_NAME_LENGTH = 200;

/** Which provider serves which model, in which order and share. */
@Injectable()
export class UpstreamsService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly directory: UpstreamDirectory,
  ) {}

  async create(dto: CreateUpstreamDto, actor: string): Promise<Readonly<UpstreamDto>> {
    const created = await this.dataSource.transaction(async (manager) => {
      // Locked against a deletion under way.
      const provider = await manager.findOne(Provider, {
        where: { id: dto.provider_id },
        lock: { mode: 'pessimistic_read' },
      });
      if (!provider) throw invalid('provider_id', 'there is no such provider');
      const now = new Date();
      const row = Object.assign(new Upstream(), {
        id: newId(),
        providerId: provider.id,
        name: dto.name ?? `${provider.name}/${dto.upstream_model}`.slice(0, MAX_NAME_LENGTH),
        model: dto.model,
        upstreamModel: dto.upstream_model,
        priority: dto.priority ?? DEFAULT_PRIORITY,
        weight: dto.weight ?? DEFAULT_WEIGHT,
        timeoutMs: dto.timeout_ms ?? null,
        maxConcurrency: dto.max_concurrency ?? null,
        region: dto.region ?? null,
        enabled: dto.enabled ?? true,
        costInputNanoUsdPerMtok: costOf(dto.cost_input_usd_per_mtok),
        costOutputNanoUsdPerMtok: costOf(dto.cost_output_usd_per_mtok),
        costCachedInputNanoUsdPerMtok: costOrAsInput(dto.cost_cached_input_usd_per_mtok),
        costCacheWriteNanoUsdPerMtok: costOrAsInput(dto.cost_cache_write_usd_per_mtok),
        createdAt: now,
        updatedAt: now,
      });
      await manager.insert(Upstream, row);
      const after = render(row);
      await audit(manager, { actor, action: 'create', entity: 'upstream', entityId: row.id, after });
      return after;
    });
    this.directory.invalidate();
    return created;
  }

  async list(query: UpstreamQuery): Promise<Page<UpstreamDto>> {
    const rows = await this.dataSource.getRepository(Upstream).find({
      where: {
        ...(query.model === undefined ? {} : { model: query.model }),
        ...(query.provider_id === undefined ? {} : { providerId: query.provider_id }),
        ...(query.region === undefined ? {} : { region: query.region }),
        ...(query.after === undefined ? {} : { id: LessThan(query.after) }),
      },
      order: { id: 'DESC' },
      take: query.limit + 1,
    });
    return pageOf(rows, query.limit, render);
  }

  async get(id: string): Promise<Readonly<UpstreamDto>> {
    const row = await this.dataSource.getRepository(Upstream).findOneBy({ id });
    if (!row) throw notFound('upstream');
    return render(row);
  }

  async update(id: string, dto: UpdateUpstreamDto, actor: string): Promise<Readonly<UpstreamDto>> {
    const changed = await this.dataSource.transaction(async (manager) => {
      const row = await manager.findOne(Upstream, { where: { id }, lock: { mode: 'pessimistic_write' } });
      if (!row) throw notFound('upstream');
      const before = render(row);
      row.name = dto.name ?? row.name;
      row.model = dto.model ?? row.model;
      row.upstreamModel = dto.upstream_model ?? row.upstreamModel;
      row.priority = dto.priority ?? row.priority;
      row.weight = dto.weight ?? row.weight;
      row.enabled = dto.enabled ?? row.enabled;
      if (dto.timeout_ms !== undefined) row.timeoutMs = dto.timeout_ms;
      if (dto.max_concurrency !== undefined) row.maxConcurrency = dto.max_concurrency;
      if (dto.region !== undefined) row.region = dto.region;
      if (dto.cost_input_usd_per_mtok !== undefined) row.costInputNanoUsdPerMtok = costOf(dto.cost_input_usd_per_mtok);
      if (dto.cost_output_usd_per_mtok !== undefined) {
        row.costOutputNanoUsdPerMtok = costOf(dto.cost_output_usd_per_mtok);
      }
      if (dto.cost_cached_input_usd_per_mtok !== undefined) {
        row.costCachedInputNanoUsdPerMtok = costOrAsInput(dto.cost_cached_input_usd_per_mtok);
      }
      if (dto.cost_cache_write_usd_per_mtok !== undefined) {
        row.costCacheWriteNanoUsdPerMtok = costOrAsInput(dto.cost_cache_write_usd_per_mtok);
      }
      const after = render(await manager.save(row));
      await audit(manager, { actor, action: 'update', entity: 'upstream', entityId: id, before, after });
      return after;
    });
    this.directory.invalidate();
    return changed;
  }

  /** Money rows keep its name. Takes as long as there are attempts that name it: it may be sent again at any time. */
  async delete(id: string, actor: string): Promise<Readonly<DeletedDto>> {
    await forgetInLog(this.dataSource, 'upstream', id);
    await this.dataSource.transaction(async (manager) => {
      const row = await manager.findOne(Upstream, { where: { id }, lock: { mode: 'pessimistic_write' } });
      if (!row) throw notFound('upstream');
      await manager.delete(Upstream, { id });
      await audit(manager, { actor, action: 'delete', entity: 'upstream', entityId: id, before: render(row) });
    });
    this.directory.invalidate();
    return { id, object: 'upstream', deleted: true };
  }
}

function costOf(text: string | undefined): NanoUsd {
  return nanoUsdOfPrice(text ?? '0');
}

/** Null: as input. */
function costOrAsInput(text: string | null | undefined): NanoUsd | null {
  return text === null || text === undefined ? null : nanoUsdOfPrice(text);
}

function render(row: Upstream): Readonly<UpstreamDto> {
  return {
    id: row.id,
    object: 'upstream',
    provider_id: row.providerId,
    name: row.name,
    model: row.model,
    upstream_model: row.upstreamModel,
    priority: row.priority,
    weight: row.weight,
    timeout_ms: row.timeoutMs,
    max_concurrency: row.maxConcurrency,
    region: row.region,
    enabled: row.enabled,
    cost_input_usd_per_mtok: toDecimalUsd(row.costInputNanoUsdPerMtok),
    cost_output_usd_per_mtok: toDecimalUsd(row.costOutputNanoUsdPerMtok),
    cost_cached_input_usd_per_mtok: usdOrNull(row.costCachedInputNanoUsdPerMtok),
    cost_cache_write_usd_per_mtok: usdOrNull(row.costCacheWriteNanoUsdPerMtok),
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}

function usdOrNull(cost: NanoUsd | null): string | null {
  return cost === null ? null : toDecimalUsd(cost);
}
