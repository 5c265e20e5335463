import type { PoolClient } from 'pg';
import { costOf, type FrozenPrice, TOKEN_BUCKETS, type TokenCounts } from '../../catalogue/price';
import { BUCKET_NAMES } from '../../catalogue/price-json';
import { refuse, RefusalError } from '../../kernel/errors';
import { floorOfTime, newId } from '../../kernel/ids';
import { IS_REFUNDED, RATED_NANO_USD } from './rated';

/** Which charges, and at which price instead. */
export interface ReRatingQuestion {
  readonly model: string;
  /** Admitted at or after this, and before `to`. */
  readonly from: Date;
  readonly to: Date;
  readonly tenantId: string | undefined;
  readonly priceVersion: string;
  readonly price: FrozenPrice;
  /** Whether a charge that was too cheap is to be debited the difference. */
  readonly chargesDifferences: boolean;
  readonly actor: string;
}

/** Rows of every model that one statement looks at. */
const ROWS_AT_ONCE = 5_000;
/** Of one plan: it is made in one transaction, while its caller waits. */
export const MAX_CHARGES = 200_000;
/** A dry run that nobody applied is forgotten after this. */
const KEPT = '7 days';

interface RatedRow {
  readonly id: string;
  readonly tenant_id: string;
  readonly funding: string;
  readonly price_version: string | null;
  readonly remaining: string;
  readonly is_refunded: boolean;
  readonly rated: string;
  readonly tokens: unknown;
  readonly multiplier: string;
}

/** With the last id of its page, where another page may follow; without a charge where the page has none of them. */
type PageRow = { readonly last_id: string | null } & (RatedRow | { readonly id: null });

function isCharge(row: PageRow): row is PageRow & RatedRow {
  return row.id !== null;
}

/**
 * Computes the COMMITTED charges of a model and a range anew, each from its snapshot's tokens and multiplier at the price
 * given, and keeps those that come to something else as lines of a plan; answers its id. Nothing is booked. A correction
 * belongs to the time of its charge.
 * Throws RefusalError, INVALID_REQUEST, where the range holds more than MAX_CHARGES of them.
 */
export async function planReRating(client: PoolClient, question: ReRatingQuestion): Promise<string> {
  await client.query(`delete from re_rating where applying_since is null and planned_at < now() - interval '${KEPT}'`);
  const id = newId();
  await client.query(
    `insert into re_rating (id, model, from_at, to_at, tenant_id, price_version, charges_differences, charges, planned_by)
       values ($1, $2, $3, $4, $5, $6, $7, 0, $8)`,
    [
      id,
      question.model,
      question.from,
      question.to,
      question.tenantId ?? null,
      question.priceVersion,
      question.chargesDifferences,
      question.actor,
    ],
  );
  const plan = new Plan(client, id, question);
  await addCharges(client, plan, question);
  await addCorrections(client, plan, question);
  await client.query(`update re_rating set charges = $2 where id = $1`, [id, plan.charges]);
  return id;
}

/** Ids of charges lie in the order of their admission: a range of time is one of ids, read a piece at a time. */
async function addCharges(client: PoolClient, plan: Plan, question: ReRatingQuestion): Promise<void> {
  const to = floorOfTime(question.to.getTime());
  let from = floorOfTime(question.from.getTime());
  let seen: string | null = null;
  do {
    const values: unknown[] = [from, to, seen, question.model, question.tenantId ?? null];
    const { rows } = await client.query<PageRow>(CHARGES, values);
    seen = rows[0]?.last_id ?? null;
    from = seen ?? from;
    await plan.add(rows.filter(isCharge));
  } while (seen !== null);
}

/** Few: a process was declared dead and lived. */
async function addCorrections(client: PoolClient, plan: Plan, question: ReRatingQuestion): Promise<void> {
  const { rows } = await client.query<RatedRow>(CORRECTIONS, [
    floorOfTime(question.from.getTime()),
    floorOfTime(question.to.getTime()),
    question.model,
    question.tenantId ?? null,
  ]);
  await plan.add(rows);
}

class Plan {
  charges = 0;
  private readonly multiplied = new Map<string, FrozenPrice>();

  constructor(
    private readonly client: PoolClient,
    private readonly id: string,
    private readonly question: ReRatingQuestion,
  ) {}

  async add(rows: readonly RatedRow[]): Promise<void> {
    this.charges += rows.length;
    if (this.charges > MAX_CHARGES) {
      const reason = `the range holds more than ${MAX_CHARGES.toLocaleString('en-US')} charges: choose a shorter one`;
      throw new RefusalError(refuse('INVALID_REQUEST', { param: 'to', values: { reason } }));
    }
    const lines = rows.map((row) => this.lineOf(row)).filter((line) => line !== undefined);
    if (lines.length > 0) await this.client.query(ADD_LINES, [this.id, JSON.stringify(lines)]);
  }

  private lineOf(row: RatedRow): object | undefined {
    const rated = BigInt(row.rated);
    const reRated = costOf(tokensOf(row.tokens, row.id), this.priceAt(row.multiplier));
    if (rated === reRated) return undefined;
    return {
      charge_id: row.id,
      tenant_id: row.tenant_id,
      old_price_version: row.price_version,
      rated: rated.toString(),
      re_rated: reRated.toString(),
      due: this.dueOf(row, rated - reRated).toString(),
    };
  }

  /**
   * What was too dear goes back as far as anything is left; what was too cheap is debited where it was the tenant's money and
   * the charge still stands: one that was refunded whole, as the sweeper's is whose correction took its place, does not.
   */
  private dueOf(row: RatedRow, tooMuch: bigint): bigint {
    const remaining = BigInt(row.remaining);
    if (tooMuch > 0n) return tooMuch < remaining ? tooMuch : remaining;
    return this.question.chargesDifferences && row.funding === 'wallet' && !row.is_refunded ? tooMuch : 0n;
  }

  private priceAt(multiplierMillionths: string): FrozenPrice {
    let price = this.multiplied.get(multiplierMillionths);
    if (!price) {
      price = { ...this.question.price, multiplierMillionths: BigInt(multiplierMillionths) };
      this.multiplied.set(multiplierMillionths, price);
    }
    return price;
  }
}

function tokensOf(tokens: unknown, chargeId: string): TokenCounts {
  const counts = tokens as Readonly<Record<string, unknown>>;
  const entries = TOKEN_BUCKETS.map((bucket) => {
    const count = counts[BUCKET_NAMES[bucket]];
    if (typeof count === 'number' && Number.isSafeInteger(count) && count >= 0) return [bucket, count] as const;
    throw new Error(`the snapshot of charge ${chargeId} has no count of ${BUCKET_NAMES[bucket]}`);
  });
  return Object.fromEntries(entries) as TokenCounts;
}

const RATED_COLUMNS = `
       c.id, c.tenant_id, c.funding, c.price_version, c.amount_nano_usd - c.refunded_nano_usd as remaining,
       ${IS_REFUNDED} as is_refunded, ${RATED_NANO_USD} as rated, s.arithmetic -> 'tokens' as tokens,
       s.arithmetic -> 'prices' ->> 'multiplier_millionths' as multiplier`;

const CHARGES = `
with page as materialized (
  select b.* from billing_transaction b
   where b.id >= $1 and b.id < $2 and b.id is distinct from $3::uuid
   order by b.id limit ${ROWS_AT_ONCE})
select e.last_id, f.* from (
  select case when count(*) = ${ROWS_AT_ONCE} then (array_agg(id order by id desc))[1] end as last_id from page) e
  left join (
    select ${RATED_COLUMNS}
      from page c join request_billing_snapshot s on s.transaction_id = c.id
     where c.type = 'charge' and c.status = 'COMMITTED' and c.model = $4 and ($5::uuid is null or c.tenant_id = $5)) f
    on true`;

const CORRECTIONS = `
select ${RATED_COLUMNS}
  from billing_transaction c join request_billing_snapshot s on s.transaction_id = c.id
 where c.type = 'correction' and c.original_transaction_id >= $1 and c.original_transaction_id < $2
   and c.status = 'COMMITTED' and c.model = $3 and ($4::uuid is null or c.tenant_id = $4)
 limit ${MAX_CHARGES + 1}`;

const ADD_LINES = `
insert into re_rating_line (re_rating_id, charge_id, tenant_id, old_price_version, rated_nano_usd, re_rated_nano_usd,
                            due_nano_usd)
select $1, l.charge_id, l.tenant_id, l.old_price_version, l.rated, l.re_rated, l.due
  from json_to_recordset($2::json) as l
         (charge_id uuid, tenant_id uuid, old_price_version bigint, rated bigint, re_rated bigint, due bigint)`;
