import { Injectable } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { Tenant } from '../../auth/tenant.entity';
import { LedgerService } from '../../billing/ledger/ledger.service';
import { bookNextLines } from '../../billing/re-rating/re-rating-booking';
import { planReRating, type ReRatingQuestion } from '../../billing/re-rating/re-rating-plan';
import { PriceBook } from '../../catalogue/price-book';
import { audit } from '../audit/audit-trail';
import { moneyTransaction } from '../audit/money-transaction';
import { conflict, invalid, notFound } from '../refusals';
import { instantOf } from '../validation/instant';
import type { ReRateDto, ReRatingDto } from './re-rating.dto';
import { ReRatingReader } from './re-rating-reader';

/** A caller waits for so many; the rest is the next request's. */
const LINES_A_REQUEST = 500;
/** What an application may repeat of its dry run, and must not change. */
const QUESTION = ['model', 'from', 'to', 'price_version', 'tenant_id', 'charge_differences'] as const;

/**
 * Past charges at another price, in two steps: a dry run plans, and what it showed is booked by its id and nothing else. Each
 * batch of lines is a transaction of its own: whoever dies in between leaves whole lines, and the next request goes on.
 */
@Injectable()
export class ReRatingsService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly priceBook: PriceBook,
    private readonly ledger: LedgerService,
    private readonly reader: ReRatingReader,
  ) {}

  async reRate(dto: ReRateDto, actor: string): Promise<Readonly<ReRatingDto>> {
    const isDryRun = dto.dry_run ?? true;
    if (isDryRun) {
      if (dto.plan_id !== undefined) throw invalid('plan_id', 'is for `dry_run: false`');
      return this.reader.get(await this.plan(dto, actor));
    }
    if (dto.plan_id === undefined) throw invalid('plan_id', 'must be the id of the dry run that is to be applied');
    await this.apply(dto.plan_id, dto, actor);
    return this.reader.get(dto.plan_id);
  }

  private async plan(dto: ReRateDto, actor: string): Promise<string> {
    const question = await this.questionOf(dto, actor);
    return moneyTransaction(this.dataSource, (_manager, client) => planReRating(client, question));
  }

  private async questionOf(dto: ReRateDto, actor: string): Promise<ReRatingQuestion> {
    const [model, priceVersion] = [given(dto, 'model'), given(dto, 'price_version')];
    const [from, to] = [instant(dto, 'from'), instant(dto, 'to')];
    if (from >= to) throw invalid('to', 'must be after from');
    const version = await this.priceBook.versionOf(priceVersion);
    if (version?.model !== model) throw invalid('price_version', 'is no price of this model');
    const tenantId = dto.tenant_id;
    if (tenantId !== undefined && !(await this.dataSource.getRepository(Tenant).existsBy({ id: tenantId }))) {
      throw invalid('tenant_id', 'there is no such tenant');
    }
    const chargesDifferences = dto.charge_differences ?? false;
    return { model, from, to, tenantId, priceVersion, price: version.price, chargesDifferences, actor };
  }

  private async apply(planId: string, dto: ReRateDto, actor: string): Promise<void> {
    const plan = await this.reader.get(planId);
    for (const field of QUESTION) {
      const value = dto[field];
      if (value === undefined) continue;
      const isSame =
        field === 'from' || field === 'to'
          ? Date.parse(String(value)) === Date.parse(plan[field])
          : value === plan[field];
      if (!isSame) throw conflict(field, 'the dry run of plan_id was another one');
    }
    await this.dataSource.transaction((manager) => begin(manager, plan, actor));
    for (let lines = 0; lines < LINES_A_REQUEST;) {
      const booked = await moneyTransaction(this.dataSource, (_manager, client) => bookNextLines(client, planId));
      if (!booked) return;
      this.ledger.project(booked.tenantId, booked.balance);
      lines += booked.lines;
    }
  }
}

/** Once, with its record. */
async function begin(manager: EntityManager, plan: Readonly<ReRatingDto>, actor: string): Promise<void> {
  const [, begun]: [unknown, number] = await manager.query(
    `update re_rating set applied_by = $2, applying_since = now() where id = $1 and applying_since is null`,
    [plan.id, actor],
  );
  if (begun === 0) {
    // A plan may have been forgotten since it was read.
    const rows: unknown[] = await manager.query(`select from re_rating where id = $1`, [plan.id]);
    if (rows.length === 0) throw notFound('re-rating');
    return;
  }
  const { model, from, to, tenant_id, price_version, charge_differences, totals } = plan;
  const after = { model, from, to, tenant_id, price_version, charge_differences, totals };
  await audit(manager, { actor, action: 'apply', entity: 're_rating', entityId: plan.id, after });
}

function given(dto: ReRateDto, field: 'model' | 'price_version' | 'from' | 'to'): string {
  const value = dto[field];
  if (value === undefined) throw invalid(field, 'must be given for a dry run');
  return value;
}

function instant(dto: ReRateDto, field: 'from' | 'to'): Date {
  return instantOf(given(dto, field), field);
}
