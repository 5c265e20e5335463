import { Injectable } from '@nestjs/common';
import { DataSource, type EntityManager, LessThan } from 'typeorm';
import { ApiKeyAuthenticator } from '../../auth/api-key-authenticator';
import { Tenant } from '../../auth/tenant.entity';
import { LedgerAccount } from '../../billing/entities/ledger-account.entity';
import { TenantBalances } from '../../billing/entities/tenant-balances';
import { LedgerService } from '../../billing/ledger/ledger.service';
import { newId } from '../../kernel/ids';
import { isWithinTenantBound, type NanoUsd, ZERO_NANO_USD } from '../../kernel/money';
import { Settings } from '../../platform/config/settings';
import { audit } from '../audit/audit-trail';
import { moneyTransaction } from '../audit/money-transaction';
import { type Page, pageOf } from '../paging/page';
import { conflict, invalid, notFound } from '../refusals';
import { amountOf } from '../validation/is-usd.decorator';
import { AdjustmentsService } from './adjustments.service';
import { TenantAllowances } from './tenant-allowances';
import type { CreateTenantDto, TenantDto, TenantQuery, UpdateTenantDto } from './tenant.dto';
import { auditedTenant, renderTenant } from './tenant-rendering';

const DEFAULT_DAILY_QUOTA = 1_000;
const DEFAULT_MONTHLY_QUOTA = 30_000;

/** Tenants from the first call to the closing; they are never deleted, since money rows name them for ever. */
@Injectable()
export class TenantsService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly balances: TenantBalances,
    private readonly allowances: TenantAllowances,
    private readonly adjustments: AdjustmentsService,
    private readonly ledger: LedgerService,
    private readonly authenticator: ApiKeyAuthenticator,
    private readonly settings: Settings,
  ) {}

  /** Tenant, accounts, initial balance and audit rows: all stand or none does. */
  async create(dto: CreateTenantDto, actor: string): Promise<Readonly<TenantDto>> {
    const initialBalance = amountOf(dto.initial_balance_usd ?? '0');
    const creditLimit = amountOf(dto.credit_limit_usd ?? '0');
    if (!isWithinTenantBound(initialBalance, creditLimit)) throw beyondBound('initial_balance_usd');
    const tenant = this.newTenant(dto);
    const posted = await moneyTransaction(this.dataSource, async (manager, client) => {
      await manager.insert(Tenant, tenant);
      await manager.insert(LedgerAccount, [
        account(tenant.id, 'wallet', creditLimit),
        account(tenant.id, 'overrun', ZERO_NANO_USD),
      ]);
      if (dto.free_allowances) await this.allowances.set(manager, tenant.id, dto.free_allowances);
      const after = auditedTenant(tenant, creditLimit, await this.allowances.of(tenant.id, manager));
      await audit(manager, { actor, action: 'create', entity: 'tenant', entityId: tenant.id, after });
      if (initialBalance === 0n) return undefined;
      const initial = { tenantId: tenant.id, amount: initialBalance, actor };
      return this.adjustments.postInitialBalance(manager, client, initial);
    });
    if (posted) this.ledger.project(tenant.id, posted);
    return this.get(tenant.id);
  }

  async list(query: TenantQuery): Promise<Page<TenantDto>> {
    const tenants = await this.dataSource.getRepository(Tenant).find({
      where: {
        ...(query.status === undefined ? {} : { status: query.status }),
        ...(query.after === undefined ? {} : { id: LessThan(query.after) }),
      },
      order: { id: 'DESC' },
      take: query.limit + 1,
    });
    const ids = tenants.map(({ id }) => id);
    const [balances, allowances] = await Promise.all([this.balances.ofAll(ids), this.allowances.ofAll(ids)]);
    return pageOf(tenants, query.limit, (tenant) =>
      renderTenant(tenant, existing(balances.get(tenant.id)), existing(allowances.get(tenant.id))),
    );
  }

  async get(id: string): Promise<Readonly<TenantDto>> {
    const [tenant, balance, allowances] = await Promise.all([
      this.dataSource.getRepository(Tenant).findOneBy({ id }),
      this.balances.of(id),
      this.allowances.of(id),
    ]);
    if (!tenant) throw notFound('tenant');
    return renderTenant(tenant, existing(balance), allowances);
  }

  async update(id: string, dto: UpdateTenantDto, actor: string): Promise<Readonly<TenantDto>> {
    await this.change(id, actor, 'update', async (manager, tenant, wallet) => {
      if (tenant.status === 'closed') throw conflict('id', 'the tenant is closed');
      tenant.name = dto.name ?? tenant.name;
      tenant.status = dto.status ?? tenant.status;
      tenant.timezone = dto.timezone ?? tenant.timezone;
      tenant.unknownPricePolicy = dto.unknown_price_policy ?? tenant.unknownPricePolicy;
      if (dto.daily_quota !== undefined) tenant.dailyQuota = dto.daily_quota;
      if (dto.monthly_quota !== undefined) tenant.monthlyQuota = dto.monthly_quota;
      if (dto.rpm_limit !== undefined) tenant.rpmLimit = dto.rpm_limit;
      if (dto.tpm_limit !== undefined) tenant.tpmLimit = dto.tpm_limit;
      if (dto.concurrency_limit !== undefined) tenant.concurrencyLimit = dto.concurrency_limit;
      if (dto.free_allowances) await this.allowances.set(manager, id, dto.free_allowances);
      if (dto.credit_limit_usd === undefined) return;
      wallet.creditLimitNanoUsd = amountOf(dto.credit_limit_usd);
      assertWithinBound(wallet);
      await manager.update(LedgerAccount, { id: wallet.id }, { creditLimitNanoUsd: wallet.creditLimitNanoUsd });
    });
    return this.get(id);
  }

  /** Its keys are refused from now on; its history and its balance stay. Closing twice is harmless. */
  async close(id: string, actor: string): Promise<Readonly<TenantDto>> {
    await this.change(id, actor, 'close', (_manager, tenant) => {
      tenant.status = 'closed';
    });
    return this.get(id);
  }

  /** Locks tenant and wallet, lets `work` change them, and audits what became of it. */
  private async change(
    id: string,
    actor: string,
    action: 'update' | 'close',
    work: (manager: EntityManager, tenant: Tenant, wallet: LedgerAccount) => void | Promise<void>,
  ): Promise<void> {
    await moneyTransaction(this.dataSource, async (manager) => {
      const lock = { mode: 'pessimistic_write' } as const;
      const tenant = await manager.findOne(Tenant, { where: { id }, lock });
      const wallet = await manager.findOne(LedgerAccount, { where: { tenantId: id, name: 'wallet' }, lock });
      if (!tenant || !wallet) throw notFound('tenant');
      const before = auditedTenant(tenant, wallet.creditLimitNanoUsd, await this.allowances.of(id, manager));
      await work(manager, tenant, wallet);
      await manager.save(tenant);
      const after = auditedTenant(tenant, wallet.creditLimitNanoUsd, await this.allowances.of(id, manager));
      await audit(manager, { actor, action, entity: 'tenant', entityId: id, before, after });
    });
    this.authenticator.tenantChanged(id);
  }

  private newTenant(dto: CreateTenantDto): Tenant {
    const now = new Date();
    return Object.assign(new Tenant(), {
      id: newId(),
      name: dto.name,
      status: 'active',
      timezone: dto.timezone ?? this.settings.defaultTimezone,
      dailyQuota: dto.daily_quota === undefined ? DEFAULT_DAILY_QUOTA : dto.daily_quota,
      monthlyQuota: dto.monthly_quota === undefined ? DEFAULT_MONTHLY_QUOTA : dto.monthly_quota,
      rpmLimit: dto.rpm_limit ?? null,
      tpmLimit: dto.tpm_limit ?? null,
      concurrencyLimit: dto.concurrency_limit ?? null,
      unknownPricePolicy: dto.unknown_price_policy ?? 'reject',
      createdAt: now,
      updatedAt: now,
    } satisfies Readonly<Tenant>);
  }
}

function account(tenantId: string, name: 'wallet' | 'overrun', creditLimit: NanoUsd): Partial<LedgerAccount> {
  return { id: newId(), tenantId, name, postedNanoUsd: ZERO_NANO_USD, creditLimitNanoUsd: creditLimit };
}

function assertWithinBound({ postedNanoUsd, creditLimitNanoUsd }: LedgerAccount): void {
  if (!isWithinTenantBound(postedNanoUsd ?? ZERO_NANO_USD, creditLimitNanoUsd)) throw beyondBound('credit_limit_usd');
}

function beyondBound(field: string): Error {
  return invalid(field, 'balance and credit limit of a tenant together must stay within ±9,000,000 USD');
}

/** Tenant and accounts are made in one transaction: one without the other is a bug, not a refusal. */
function existing<T extends object>(part: T | undefined): T {
  if (!part) throw new Error('a tenant has no ledger accounts');
  return part;
}
