import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { nanoUsd, toDecimalUsd } from '../../kernel/money';
import { pageOf } from '../paging/page';
import { notFound } from '../refusals';
import { type ReRatingDto, type ReRatingLineDto, ReRatingQuery, type ReRatingTotalsDto } from './re-rating.dto';

interface HeadRow {
  readonly id: string;
  readonly model: string;
  readonly from_at: Date;
  readonly to_at: Date;
  readonly tenant_id: string | null;
  readonly price_version: string;
  readonly charges_differences: boolean;
  readonly planned_at: Date;
  readonly applying_since: Date | null;
  readonly charges: string;
  readonly differing: string;
  readonly overcharged: string;
  readonly undercharged: string;
  readonly credit_due: string;
  readonly debit_due: string;
  readonly credited: string;
  readonly debited: string;
  readonly remaining: string;
  readonly refused: string;
}

interface LineRow {
  readonly id: string;
  readonly tenant_id: string;
  readonly old_price_version: string | null;
  readonly rated_nano_usd: string;
  readonly re_rated_nano_usd: string;
  readonly due_nano_usd: string;
  readonly booked_nano_usd: string | null;
  readonly transaction_id: string | null;
  readonly refusal: string | null;
}

@Injectable()
export class ReRatingReader {
  constructor(private readonly dataSource: DataSource) {}

  async get(id: string, { limit, after }: ReRatingQuery = new ReRatingQuery()): Promise<Readonly<ReRatingDto>> {
    const [head]: HeadRow[] = await this.dataSource.query(HEAD, [id]);
    if (!head) throw notFound('re-rating');
    const lines: LineRow[] = await this.dataSource.query(LINES, [id, after ?? null, limit + 1]);
    const { data, has_more, next_cursor } = pageOf(lines, limit, renderLine);
    return { ...renderHead(head), data, has_more, next_cursor };
  }
}

const HEAD = `
select r.*, t.* from re_rating r cross join lateral (
  select count(*) as differing,
         coalesce(sum(rated_nano_usd - re_rated_nano_usd) filter (where rated_nano_usd > re_rated_nano_usd), 0) as overcharged,
         coalesce(sum(re_rated_nano_usd - rated_nano_usd) filter (where rated_nano_usd < re_rated_nano_usd), 0) as undercharged,
         coalesce(sum(due_nano_usd) filter (where due_nano_usd > 0), 0) as credit_due,
         coalesce(sum(-due_nano_usd) filter (where due_nano_usd < 0), 0) as debit_due,
         coalesce(sum(booked_nano_usd) filter (where booked_nano_usd > 0), 0) as credited,
         coalesce(sum(-booked_nano_usd) filter (where booked_nano_usd < 0), 0) as debited,
         count(*) filter (where booked_nano_usd is null and due_nano_usd <> 0) as remaining,
         count(refusal) as refused
    from re_rating_line where re_rating_id = r.id) t
 where r.id = $1`;

const LINES = `
select charge_id as id, tenant_id, old_price_version, rated_nano_usd, re_rated_nano_usd, due_nano_usd, booked_nano_usd,
       transaction_id, refusal
  from re_rating_line
 where re_rating_id = $1 and ($2::uuid is null or charge_id > $2)
 order by charge_id limit $3`;

function renderHead(row: HeadRow): Omit<ReRatingDto, 'data' | 'has_more' | 'next_cursor'> {
  const isDone = row.remaining === '0';
  return {
    id: row.id,
    object: 're_rating',
    status: row.applying_since === null ? 'planned' : isDone ? 'applied' : 'applying',
    model: row.model,
    from: row.from_at.toISOString(),
    to: row.to_at.toISOString(),
    tenant_id: row.tenant_id,
    price_version: row.price_version,
    charge_differences: row.charges_differences,
    totals: renderTotals(row),
    planned_at: row.planned_at.toISOString(),
    applying_since: row.applying_since?.toISOString() ?? null,
  };
}

function renderTotals(row: HeadRow): Readonly<ReRatingTotalsDto> {
  return {
    charges: Number(row.charges),
    differing: Number(row.differing),
    overcharged_usd: usd(row.overcharged),
    undercharged_usd: usd(row.undercharged),
    credit_due_usd: usd(row.credit_due),
    debit_due_usd: usd(row.debit_due),
    credited_usd: usd(row.credited),
    debited_usd: usd(row.debited),
    remaining: Number(row.remaining),
    refused: Number(row.refused),
  };
}

function renderLine(row: LineRow): Readonly<ReRatingLineDto> {
  return {
    charge_id: row.id,
    tenant_id: row.tenant_id,
    old_price_version: row.old_price_version,
    rated_usd: usd(row.rated_nano_usd),
    re_rated_usd: usd(row.re_rated_nano_usd),
    due_usd: usd(row.due_nano_usd),
    booked_usd: row.booked_nano_usd === null ? null : usd(row.booked_nano_usd),
    transaction_id: row.transaction_id,
    refusal: row.refusal,
  };
}

/** A sum of bigints is a numeric: it may be longer than any one amount. */
function usd(amount: string): string {
  return toDecimalUsd(nanoUsd(BigInt(amount)));
}
