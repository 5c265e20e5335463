import type { ClientBase } from 'pg';
import { GIVEN_BACK_VIOLATIONS } from './given-back';
import { type InvariantResult, MAX_EXAMPLES } from './invariant';

interface LedgerInvariant {
  readonly id: InvariantResult['id'];
  readonly states: string;
  /** How many things the check looks at. */
  readonly population: string;
  /** One row a violation, with a text column `what`. */
  readonly violations: string;
}

const TOKEN_PRICE_SUM = ['input_uncached', 'input_cached', 'cache_write', 'output', 'reasoning', 'audio', 'image']
  .map((bucket) => `(s.arithmetic -> 'tokens' ->> '${bucket}')::numeric * (p.in_force ->> '${bucket}')::numeric`)
  .join(' + ');

const TOTAL_INPUT = ['input_uncached', 'input_cached', 'cache_write']
  .map((bucket) => `(s.arithmetic -> 'tokens' ->> '${bucket}')::numeric`)
  .join(' + ');

const ROW_TOKENS_DIFFER = ['input_uncached', 'input_cached', 'cache_write', 'output', 'reasoning', 'audio', 'image']
  .map((bucket) => `b.tokens_${bucket} <> (s.arithmetic -> 'tokens' ->> '${bucket}')::numeric`)
  .join(' or ');

/** Of a counter c: the charges of its window that do not name it, because its request quota had not been met. */
const SEEDED_AT_MOST = `(
  select count(*) from billing_transaction b
   where b.tenant_id = c.tenant_id and b.type = 'charge'
     and case c.counter when 'day' then b.day_window_start when 'month' then b.month_window_start end
         = to_timestamp(c.window_start_ms / 1000.0)
     and not exists (select from jsonb_array_elements(b.scopes) s where s ->> 0 = c.counter))`;

/** What the months that were taken out came to. */
const OPENING = `
  select account_id, posted_nano_usd, version from ledger_opening_balance
   where month = (select max(month) from ledger_opening_balance)`;

/** Of a transaction b: its transfers are there to be compared with, not taken out with their month. */
const HAS_TRANSFERS = `coalesce(b.ended_at, 'infinity') >= ledger_begins_at()`;

/** Each debit of a wallet with what it had posted right after: what stands at the account's version of that moment. */
const WALLET_DEBITS = `
  select * from (
    select e.*, sum(e.change) over (partition by e.account_id order by e.version) as posted from (
      select t.debit_account_id as account_id, t.debit_version as version, -t.amount_nano_usd::numeric as change, t.kind,
             t.transaction_id
        from ledger_transfer t join ledger_account w on w.id = t.debit_account_id and w.name = 'wallet'
      union all
      select t.credit_account_id, t.credit_version, t.amount_nano_usd, t.kind, t.transaction_id
        from ledger_transfer t join ledger_account w on w.id = t.credit_account_id and w.name = 'wallet'
      union all
      select o.account_id, 0, o.posted_nano_usd, 'opening', null
        from (${OPENING}) o join ledger_account w on w.id = o.account_id and w.name = 'wallet') e) r
   where r.change < 0`;

/** The invariants that Postgres alone can judge, each as a query for its violations. */
export const LEDGER_INVARIANTS: readonly LedgerInvariant[] = [
  {
    id: 'I1',
    states:
      'The sum of all accounts is 0; each account has posted its opening balance and what its transfers say; versions ' +
      'have no gap.',
    population: `select count(*) as n from ledger_account`,
    violations: `
      with opening as (${OPENING}),
      entry as (
        select debit_account_id as account_id, -amount_nano_usd::numeric as amount, debit_version as version
          from ledger_transfer
        union all
        select credit_account_id, amount_nano_usd, credit_version from ledger_transfer),
      moved as (
        select account_id, sum(amount) as posted, count(version) as versions, count(distinct version) as different,
               max(version) as last
          from entry group by account_id),
      summed as (
        select account_id, coalesce(o.posted_nano_usd, 0) + coalesce(m.posted, 0) as posted,
               coalesce(o.version, 0) + coalesce(m.versions, 0) as versions,
               coalesce(o.version, 0) + coalesce(m.different, 0) as different, coalesce(m.last, o.version) as last
          from opening o full join moved m using (account_id))
      select 'account ' || a.id || ' has posted ' || a.posted_nano_usd || ', its transfers say ' || coalesce(s.posted, 0) as what
        from ledger_account a left join summed s on s.account_id = a.id
       where a.tenant_id is not null and a.posted_nano_usd <> coalesce(s.posted, 0)
      union all
      select 'account ' || a.id || ' is at version ' || a.version || ', its transfers number ' || coalesce(s.versions, 0)
             || ' up to ' || coalesce(s.last, 0)
        from ledger_account a left join summed s on s.account_id = a.id
       where a.tenant_id is not null
         and (a.version <> coalesce(s.versions, 0) or a.version <> coalesce(s.different, 0)
              or a.version <> coalesce(s.last, 0))
      union all
      select 'transfers name the unknown account ' || s.account_id
        from summed s left join ledger_account a on a.id = s.account_id where a.id is null
      union all
      select 'all accounts together are ' || total from (
        select coalesce(sum(a.posted_nano_usd), 0)
             + coalesce((select sum(s.posted) from summed s join ledger_account h on h.id = s.account_id
                          where h.tenant_id is null), 0) as total
          from ledger_account a where a.tenant_id is not null) t
       where total <> 0`,
  },
  {
    id: 'I3',
    states:
      'Each admitted charge is open, committed or voided, once; an open one belongs to a process that may still end it. What ' +
      'is given back of one is the sum of its refunds and credit notes, never more than its amount.',
    population: `select count(*) as n from billing_transaction where type = 'charge'`,
    violations: `
      with moved as (
        select transaction_id, sum(amount_nano_usd)::numeric as amount
          from ledger_transfer where kind = 'charge' group by transaction_id)
      select 'charge ' || b.id || ' is ' || b.status || ' with amount ' || b.amount_nano_usd || ', its transfers move '
             || coalesce(m.amount, 0) as what
        from billing_transaction b left join moved m on m.transaction_id = b.id
       where b.type in ('charge', 'correction') and ${HAS_TRANSFERS}
         and coalesce(m.amount, 0) <> case when b.status = 'COMMITTED' then b.amount_nano_usd else 0 end
      union all
      select 'a transfer charges for the unknown transaction ' || m.transaction_id
        from moved m left join billing_transaction b on b.id = m.transaction_id where b.id is null
      union all
      select 'charge ' || b.id || ' is open, but its process ' || coalesce(p.status, 'does not exist')
        from billing_transaction b left join gateway_process p on p.id = b.process_id
       where b.status = 'PENDING' and (p.id is null or p.status in ('ended', 'swept'))
      union all
      select 'charge ' || b.id || ' is open and older than the watermark of its process'
        from billing_transaction b join gateway_process p on p.id = b.process_id
       where b.status = 'PENDING' and b.trace_id < p.oldest_open_id
      union all
      ${GIVEN_BACK_VIOLATIONS}`,
  },
  {
    id: 'I4',
    states:
      'Each hold on a wallet was covered when it was admitted; no charge took its wallet below the credit limit frozen ' +
      'with it, and only what exceeds that stands in overrun.',
    population: `select count(*) as n from billing_transaction where type = 'charge'`,
    violations: `
      select 'charge ' || id || ' was admitted with ' || balance_before_nano_usd || ' for a hold of ' || hold_nano_usd as what
        from billing_transaction
       where type = 'charge' and funding = 'wallet' and hold_nano_usd > extended_nano_usd
         and (balance_before_nano_usd is null or balance_before_nano_usd < hold_nano_usd - extended_nano_usd)
      union all
      select 'account ' || id || ' (overrun) has a credit of ' || posted_nano_usd
        from ledger_account where name = 'overrun' and posted_nano_usd > 0
      union all
      select 'charge ' || b.id || ' took its wallet to ' || d.posted || ' with a credit limit of ' || b.credit_limit_nano_usd
             || case when o.transaction_id is null then '' else ', the rest to overrun' end
        from (${WALLET_DEBITS}) d
        join billing_transaction b on b.id = d.transaction_id
        left join (
          select t.transaction_id from ledger_transfer t join ledger_account a on a.id = t.debit_account_id
           where t.kind = 'charge' and a.name = 'overrun') o on o.transaction_id = b.id
       where d.kind = 'charge'
         and (d.posted < -b.credit_limit_nano_usd
              or o.transaction_id is not null and d.posted <> -b.credit_limit_nano_usd)`,
  },
  {
    id: 'I5',
    states:
      'One charge for each tenant and trace id, with at most one transfer from each of its accounts; what its attempts ' +
      'cost the house is booked once.',
    population: `select count(*) as n from billing_transaction`,
    violations: `
      select 'tenant ' || tenant_id || ' was charged ' || count(*) || ' times for trace ' || trace_id as what
        from billing_transaction group by tenant_id, trace_id having count(*) > 1
      union all
      select 'transaction ' || transaction_id || ' debits account ' || debit_account_id || ' ' || count(*) || ' times'
        from ledger_transfer where kind = 'charge' group by transaction_id, debit_account_id having count(*) > 1
      union all
      select 'charge ' || transaction_id || ' pays account ' || credit_account_id || ' for ' || coalesce(reason_code, '?')
             || ' ' || count(*) || ' times'
        from ledger_transfer where kind = 'upstream_cost'
       group by transaction_id, credit_account_id, reason_code having count(*) > 1`,
  },
  {
    id: 'I6',
    states: 'Each amount is what the formula gives on the row’s snapshot, and above 0 where usage and price are.',
    population: `select count(*) as n from request_billing_snapshot`,
    violations: `
      select 'charge ' || b.id || ' is committed without a snapshot' as what
        from billing_transaction b left join request_billing_snapshot s on s.transaction_id = b.id
       where b.type in ('charge', 'correction') and b.status = 'COMMITTED' and s.transaction_id is null
      union all
      select 'charge ' || b.id || ' has amount ' || b.amount_nano_usd || ', the formula gives ' || f.amount
        from request_billing_snapshot s
        join billing_transaction b on b.id = s.transaction_id
        cross join lateral (
          select prices_in_force(s.arithmetic -> 'prices', ${TOTAL_INPUT}) as in_force) p
        cross join lateral (
          select ceil((${TOKEN_PRICE_SUM} + (s.arithmetic -> 'prices' ->> 'per_request')::numeric * 1000000)
                 * (s.arithmetic -> 'prices' ->> 'multiplier_millionths')::numeric / 1000000000000) as amount) f
       where b.amount_nano_usd <> f.amount
      union all
      select 'charge ' || b.id || ' and its snapshot count different tokens'
        from request_billing_snapshot s join billing_transaction b on b.id = s.transaction_id
       where ${ROW_TOKENS_DIFFER}
      union all
      select 'charge ' || b.id || ' and its snapshot name different prices'
        from request_billing_snapshot s join billing_transaction b on b.id = s.transaction_id
       where b.type = 'charge' and b.prices is distinct from s.arithmetic -> 'prices'
      union all
      select 'charge ' || b.id || ' names other prices for its length than its tiers'
        from request_billing_snapshot s join billing_transaction b on b.id = s.transaction_id
       where s.arithmetic -> 'prices_in_force' is distinct from case when s.arithmetic -> 'prices' ? 'tiers'
               then prices_in_force(s.arithmetic -> 'prices', ${TOTAL_INPUT}) - 'tiers' end`,
  },
  {
    id: 'I8',
    states:
      'Each window counter is the sum of the committed charges that name its window (and of what a request quota found ' +
      'there when it was first met); in Redis that of its open holds comes on top.',
    population: `select count(*) as n from quota_counter`,
    violations: `
      with named as (
        select b.tenant_id, s ->> 0 as counter, (s ->> 2)::bigint as window_start_ms,
               sum(case s ->> 1 when 'r' then 1 else b.amount_nano_usd end) as amount
          from billing_transaction b cross join lateral jsonb_array_elements(b.scopes) s
         where b.type = 'charge' and b.status = 'COMMITTED' group by 1, 2, 3)
      select 'counter ' || c.counter || ' of tenant ' || c.tenant_id || ' has ' || c.counted || ' of the charges in its window from '
             || c.window_start_ms || ', they are ' || coalesce(n.amount, 0) as what
        from quota_counter c left join named n using (tenant_id, counter, window_start_ms)
       where c.counted <> coalesce(n.amount, 0)
      union all
      select 'charges of tenant ' || n.tenant_id || ' name a window of ' || n.counter || ' from ' || n.window_start_ms
             || ', its counter ' || coalesce('is in the one from ' || c.window_start_ms, 'does not exist')
        from named n left join quota_counter c using (tenant_id, counter)
       where c.tenant_id is null or c.window_start_ms < n.window_start_ms
      union all
      select 'counter ' || c.counter || ' of tenant ' || c.tenant_id || ' began with ' || c.used - c.counted
             || ', which no charge explains'
        from quota_counter c
       where c.used <> c.counted and c.used - c.counted not between 1 and ${SEEDED_AT_MOST}`,
  },
];

/**
 * Within the caller's snapshot: all queries of one check must see the same moment.
 * @param answerMs how long the driver waits for each; as long as for any other statement of the connection unless given
 */
export async function checkLedgerInvariant(
  client: ClientBase,
  invariant: LedgerInvariant,
  answerMs?: number,
): Promise<InvariantResult> {
  const patience = answerMs === undefined ? {} : { query_timeout: answerMs };
  const population = await client.query<{ n: string }>({ text: invariant.population, ...patience });
  const found = await client.query<{ what: string; n: string }>({
    text: `select what, count(*) over () as n from (${invariant.violations}) v limit ${MAX_EXAMPLES}`,
    ...patience,
  });
  const violations = Number(found.rows[0]?.n ?? 0);
  return {
    id: invariant.id,
    states: invariant.states,
    verdict: violations === 0 ? 'holds' : 'violated',
    checked: Number(population.rows[0]?.n ?? 0),
    violations,
    examples: found.rows.map(({ what }) => what),
  };
}
