import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { Tenant } from '../../auth/tenant.entity';
import { refuse, RefusalError } from '../../kernel/errors';
import { toDecimalUsd } from '../../kernel/money';
import { EpochAuthority } from '../../quota/epoch-authority';
import { QuotaUnavailableError } from '../../quota/quota-store.port';
import { type RebuildReport, TenantRebuild } from '../../quota/warm-up/tenant-rebuild';
import { audit } from '../audit/audit-trail';
import { notFound } from '../refusals';
import type { FleetRebuildDto, ProjectedBalanceDto, TenantRebuildDto } from './rebuild.dto';

/** Makes Redis anew from the ledger, by an administrator's hand; money is safe at any moment of it. */
@Injectable()
export class RebuildService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly tenants: TenantRebuild,
    private readonly epochs: EpochAuthority,
  ) {}

  async one(tenantId: string, actor: string): Promise<Readonly<TenantRebuildDto>> {
    const isKnown = await this.dataSource.getRepository(Tenant).existsBy({ id: tenantId });
    if (!isKnown) throw notFound('tenant');
    const report = await this.tenants.rebuild(tenantId).catch(unavailable);
    const shown = render(tenantId, report);
    await audit(this.dataSource.manager, {
      actor,
      action: 'rebuild',
      entity: 'tenant',
      entityId: tenantId,
      before: shown.before ?? undefined,
      after: shown.after ?? { state: shown.state },
    });
    return shown;
  }

  async all(actor: string): Promise<Readonly<FleetRebuildDto>> {
    const before = await this.epochs.refresh();
    await this.epochs.raiseBeyond(before, 'an administrator asked for it');
    const epoch = (await this.epochs.refresh()).toString();
    await audit(this.dataSource.manager, {
      actor,
      action: 'rebuild',
      entity: 'quota_authority',
      entityId: 'epoch',
      before: { epoch: before.toString() },
      after: { epoch },
    });
    return { object: 'rebuild', epoch };
  }
}

function unavailable(error: unknown): never {
  if (!(error instanceof QuotaUnavailableError)) throw error;
  throw new RefusalError(refuse('SERVICE_UNAVAILABLE', { retryAfterMs: 1_000 }), { cause: error });
}

function render(tenantId: string, report: RebuildReport): Readonly<TenantRebuildDto> {
  const isRebuilt = report.state === 'rebuilt';
  return {
    object: 'tenant_rebuild',
    tenant_id: tenantId,
    state: report.state,
    before: isRebuilt ? renderBalance(report.before) : null,
    after: isRebuilt ? renderBalance(report.after) : null,
    holds_added: isRebuilt ? report.holdsAdded : 0,
    holds_removed: isRebuilt ? report.holdsRemoved : 0,
  };
}

function renderBalance({
  posted,
  held,
}: Extract<RebuildReport, { state: 'rebuilt' }>['before']): Readonly<ProjectedBalanceDto> {
  return { posted_usd: toDecimalUsd(posted), held_usd: toDecimalUsd(held) };
}
