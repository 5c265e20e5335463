import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { CLOCK, type Clock } from '../../kernel/clock';
import { floorOfTime } from '../../kernel/ids';
import { nanoUsd, toDecimalUsd } from '../../kernel/money';
import { invalid } from '../refusals';
import { instantOf } from '../validation/instant';
import type { MarginAmountsDto, MarginDto, MarginQuery, MarginsDto } from './margin.dto';

const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 30;
const MAX_DAYS = 92;
const MAX_GROUPS = 1_000;

interface AmountsRow {
  readonly charges: string;
  readonly charged: string;
  readonly credited: string;
  readonly upstream_cost: string;
  readonly house_cost: string;
}

interface GroupRow extends AmountsRow {
  readonly is_total: boolean;
  readonly model: string | null;
  readonly upstream_id: string | null;
  readonly upstream_name: string | null;
}

/**
 * Everything that was booked for the charges admitted in a range, of which a UUIDv7 is a range too: the charges, what was
 * booked for them later (and for that in its turn), and what the house paid for their attempts. Each arm is a range of an
 * index. An attempt belongs to its own upstream, which need not be the one that served. $1 and $2 are ids, $3 a tenant or
 * null.
 */
const ENTRIES = `
with recursive booked as (
  select x.original_transaction_id as charge_id, x.id, x.type, x.status, x.amount_nano_usd, x.upstream_cost_nano_usd
    from billing_transaction x
   where x.original_transaction_id >= $1 and x.original_transaction_id < $2 and ($3::uuid is null or x.tenant_id = $3)
  union
  select k.charge_id, x.id, x.type, x.status, x.amount_nano_usd, x.upstream_cost_nano_usd
    from booked k join billing_transaction x on x.original_transaction_id = k.id),
entry as (
  select b.model, b.upstream_id, max(b.upstream_name) as upstream_name, count(*) as charges,
         sum(b.amount_nano_usd) as charged, 0::numeric as credited, sum(b.upstream_cost_nano_usd) as upstream_cost,
         0::numeric as house_cost
    from billing_transaction b
   where b.id >= $1 and b.id < $2 and b.type = 'charge' and b.status = 'COMMITTED'
     and ($3::uuid is null or b.tenant_id = $3)
   group by b.model, b.upstream_id
  union all
  select c.model, c.upstream_id, c.upstream_name, 0, case k.type when 'correction' then k.amount_nano_usd else 0 end,
         case k.type when 'correction' then 0 else k.amount_nano_usd end, k.upstream_cost_nano_usd, 0
    from booked k join billing_transaction c on c.id = k.charge_id and c.type = 'charge'
   where k.status = 'COMMITTED'
  union all
  select c.model, split_part(a.name, ':', 2)::uuid, null, 0, 0, 0, 0, t.amount_nano_usd
    from ledger_transfer t
    join billing_transaction c on c.id = t.transaction_id
    join ledger_account a on a.id = t.credit_account_id
   where t.kind = 'upstream_cost' and t.transaction_id >= $1 and t.transaction_id < $2
     and ($3::uuid is null or c.tenant_id = $3))`;

const SUMS = `
  sum(e.charges) as charges, sum(e.charged) as charged, sum(e.credited) as credited,
  sum(e.upstream_cost) as upstream_cost, sum(e.house_cost) as house_cost`;

const GROUPED = {
  model: `select grouping(e.model) = 1 as is_total, e.model, null as upstream_id, null as upstream_name, ${SUMS}
            from entry e group by grouping sets ((e.model), ())`,
  upstream: `select grouping(e.upstream_id) = 1 as is_total, null as model, e.upstream_id,
                    coalesce((select u.name from upstream u where u.id = e.upstream_id), max(e.upstream_name))
                      as upstream_name, ${SUMS}
               from entry e group by grouping sets ((e.upstream_id), ())`,
} as const;

/** What calls brought in and what they cost, from rows of money alone: exact, whatever the request log lost. */
@Injectable()
export class MarginsService {
  constructor(
    private readonly dataSource: DataSource,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async of(query: MarginQuery): Promise<Readonly<MarginsDto>> {
    const { fromMs, toMs } = this.rangeOf(query);
    const rows: GroupRow[] = await this.dataSource.query(
      `${ENTRIES} select * from (${GROUPED[query.group_by]}) g
        order by is_total desc, charged desc nulls last, house_cost desc, model, upstream_id limit ${MAX_GROUPS + 2}`,
      [floorOfTime(fromMs), floorOfTime(toMs), query.tenant_id ?? null],
    );
    // After the sums: a month that is taken out meanwhile is missing in none that are answered.
    await this.refuseWithoutTransfers(fromMs);
    const groups = rows.filter(({ is_total }) => !is_total);
    return {
      object: 'margins',
      group_by: query.group_by,
      from: new Date(fromMs).toISOString(),
      to: new Date(toMs).toISOString(),
      tenant_id: query.tenant_id ?? null,
      data: groups.slice(0, MAX_GROUPS).map((row) => renderGroup(row, query.group_by)),
      has_more: groups.length > MAX_GROUPS,
      totals: renderAmounts(rows.find(({ is_total }) => is_total)),
    };
  }

  /** What the house paid stands in transfers alone: without them a margin would be told too high. */
  private async refuseWithoutTransfers(fromMs: number): Promise<void> {
    const rows: { begins_at: Date }[] = await this.dataSource.query(
      `select ledger_begins_at() as begins_at where ledger_begins_at() > to_timestamp($1::float8 / 1000)`,
      [fromMs],
    );
    const [taken] = rows;
    if (!taken) return;
    throw invalid(
      'from',
      `must not be before ${taken.begins_at.toISOString()}: months before were taken out of the ledger`,
    );
  }

  private rangeOf({ from, to }: MarginQuery): { readonly fromMs: number; readonly toMs: number } {
    const toMs = to === undefined ? this.clock.nowMs() : instantOf(to, 'to').getTime();
    const fromMs = from === undefined ? toMs - DEFAULT_DAYS * DAY_MS : instantOf(from, 'from').getTime();
    if (fromMs >= toMs) throw invalid('from', 'must be before to');
    if (toMs - fromMs > MAX_DAYS * DAY_MS) throw invalid('from', `must be at most ${MAX_DAYS} days before to`);
    return { fromMs, toMs };
  }
}

function renderGroup(row: GroupRow, groupBy: MarginQuery['group_by']): Readonly<MarginDto> {
  const { model, upstream_id, upstream_name } = row;
  const group = groupBy === 'model' ? { model } : { upstream_id, upstream_name };
  return { object: 'margin', ...group, ...renderAmounts(row) };
}

/** The empty group sums to nulls. */
function renderAmounts(row: AmountsRow | undefined): Readonly<MarginAmountsDto> {
  const of = (sum: string | null | undefined): bigint => BigInt(sum ?? 0);
  const [charged, credited] = [of(row?.charged), of(row?.credited)];
  const [upstreamCost, houseCost] = [of(row?.upstream_cost), of(row?.house_cost)];
  return {
    charges: Number(row?.charges ?? 0),
    charged_usd: toDecimalUsd(nanoUsd(charged)),
    credited_usd: toDecimalUsd(nanoUsd(credited)),
    upstream_cost_usd: toDecimalUsd(nanoUsd(upstreamCost)),
    house_cost_usd: toDecimalUsd(nanoUsd(houseCost)),
    margin_usd: toDecimalUsd(nanoUsd(charged - credited - upstreamCost - houseCost)),
  };
}
