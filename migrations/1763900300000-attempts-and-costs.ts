import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What a call cost the house, booked in the transaction that ends its charge: the served attempt's cost in the row, and a
 * transfer for every attempt that the provider charges us for and no tenant pays. Attempts are rows of their own.
 */
export class AttemptsAndCosts1763900300000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(COLUMNS);
    await runner.query(COST_ACCOUNT);
    await runner.query(POST_HOUSE_COSTS);
    await runner.query(END);
    await runner.query(ATTEMPTS);
  }

  down(): Promise<void> {
    return Promise.reject(new Error('Rows carry what calls cost: it is never taken back.'));
  }
}

const INDEXES_ONLY =
  'set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan';

const COLUMNS = `
alter table billing_transaction add column upstream_cost_nano_usd bigint not null default 0;
comment on column billing_transaction.upstream_cost_nano_usd is
  'What the served attempt costs us: its tokens at the upstream''s own cost price, frozen when the attempt started. 0 where '
  'nothing was charged: transfers of kind upstream_cost say what the house pays then. Of a correction of what the sweeper '
  'had charged it is the difference, which may be below 0.';
alter type charge_row add attribute upstream_cost_nano_usd bigint, add attribute house_costs jsonb;
comment on type charge_row is
  'What billing_admit and billing_end take. house_costs: [{upstream_id, amount_nano_usd, is_served}, ...] of attempts that '
  'cost us something and that no tenant pays.';
create index ledger_transfer_upstream_costs on ledger_transfer (transaction_id) where kind = 'upstream_cost';
`;

/** A name-based id: two transactions that meet an upstream for the first time make the same account. */
const COST_ACCOUNT = `
create function upstream_cost_account(p_upstream_id uuid) returns uuid language sql immutable
return overlay(overlay(md5('upstream_cost:' || p_upstream_id::text) placing '3' from 13 for 1) placing '8' from 17 for 1)::uuid;
comment on function upstream_cost_account is
  'Id of the house''s account upstream_cost:<upstream id>: what that upstream charges us for attempts the house pays.';
`;

/**
 * Under the wallets that billing_end has locked, so that of two endings of one charge the second sees what the first
 * booked. Also for a charge that somebody else has ended: only its own process knows of the attempts that failed before.
 */
const POST_HOUSE_COSTS = `
create function billing_post_house_costs(p_rows charge_row[]) returns void
language plpgsql ${INDEXES_ONLY} as $$
declare
  v_transactions uuid[];
  v_upstreams uuid[];
  v_amounts bigint[];
  v_reasons text[];
begin
  -- What was served costs what its COMMITTED row says; where it was not charged after all, the house pays it.
  select array_agg(d.id order by d.id, d.upstream_id, d.reason), array_agg(d.upstream_id order by d.id, d.upstream_id, d.reason),
         array_agg(d.amount order by d.id, d.upstream_id, d.reason), array_agg(d.reason order by d.id, d.upstream_id, d.reason)
    into v_transactions, v_upstreams, v_amounts, v_reasons
    from (
      select r.id, c.upstream_id, case when c.is_served then 'UNCHARGED_ANSWER' else 'FAILED_ATTEMPT' end as reason,
             sum(c.amount_nano_usd)::bigint as amount
        from unnest(p_rows) r
        join billing_transaction b on b.id = r.id
       cross join lateral jsonb_to_recordset(r.house_costs)
             as c (upstream_id uuid, amount_nano_usd bigint, is_served boolean)
       where c.amount_nano_usd > 0 and not (c.is_served and b.status = 'COMMITTED')
         and not exists (select from ledger_transfer t where t.transaction_id = r.id and t.kind = 'upstream_cost')
       group by 1, 2, 3) d;
  if v_transactions is null then return; end if;

  insert into ledger_account (id, tenant_id, name)
  select u.account_id, null, 'upstream_cost:' || u.upstream_id
    from (select distinct upstream_cost_account(i) as account_id, i as upstream_id from unnest(v_upstreams) i) u
   where not exists (select from ledger_account a where a.id = u.account_id)
   order by u.account_id
  on conflict do nothing;
  insert into ledger_transfer (kind, transaction_id, debit_account_id, credit_account_id, amount_nano_usd, reason_code)
  select 'upstream_cost', d.transaction_id, '00000000-0000-7000-8000-000000000003',
         upstream_cost_account(d.upstream_id), d.amount, d.reason
    from unnest(v_transactions, v_upstreams, v_amounts, v_reasons) as d (transaction_id, upstream_id, amount, reason);
end $$;
comment on function billing_post_house_costs is
  'Books what attempts of ended charges cost the house, write_off to upstream_cost:<upstream id>, once a charge.';
`;

const END = `
create or replace function billing_end(p_rows json)
returns table (id uuid, outcome text, tenant_id uuid, posted_nano_usd bigint, version bigint)
language plpgsql ${INDEXES_ONLY} as $$
#variable_conflict use_column
declare
  v_rows charge_row[] := array(select r from json_populate_recordset(null::charge_row, p_rows) r);
  v_tenants uuid[] := array(select distinct (unnest(v_rows)).tenant_id);
  v_epoch bigint;
  v_unswept uuid[];
  v_won uuid[];
begin
  perform pg_advisory_xact_lock_shared(quota_fence());
  select a.epoch, array(select p.id from gateway_process p
      where p.id = any (array(select distinct (unnest(v_rows)).process_id)) and p.status in ('alive', 'dead'))
    into v_epoch, v_unswept from quota_authority a;

  -- The accounts first, by id, and also for voids: a rebuild that holds the wallet sees no charge end meanwhile.
  perform 1 from ledger_account a
    where a.tenant_id = any (v_tenants) and a.name in ('wallet', 'promo', 'overrun') order by a.id for update;

  with input as (select r.* from unnest(v_rows) r),
  updated as (
    update billing_transaction b set
      status = case when i.is_commit then 'COMMITTED' else 'VOIDED' end,
      amount_nano_usd = i.amount_nano_usd,
      tokens_input_uncached = i.tokens_input_uncached, tokens_input_cached = i.tokens_input_cached,
      tokens_cache_write = i.tokens_cache_write, tokens_output = i.tokens_output,
      tokens_reasoning = i.tokens_reasoning, tokens_audio = i.tokens_audio, tokens_image = i.tokens_image,
      upstream_cost_nano_usd = coalesce(i.upstream_cost_nano_usd, 0),
      counting_method = i.counting_method, end_reason = i.end_reason, upstream_id = i.upstream_id,
      upstream_name = i.upstream_name, provider_name = i.provider_name, reason_code = i.reason_code,
      description = i.description, ended_at = clock_timestamp()
    from input i
    where b.id = i.id and b.status = 'PENDING' and not i.is_new
    returning b.id),
  inserted as (
    insert into billing_transaction (
      id, tenant_id, trace_id, type, status, channel, is_stream, epoch, process_id, hold_nano_usd,
      credit_limit_nano_usd, balance_before_nano_usd, balance_after_nano_usd, day_window_start, month_window_start,
      api_key_id, api_key_name, model, price_version, prices, scopes, funding, amount_nano_usd, tokens_input_uncached,
      tokens_input_cached, tokens_cache_write, tokens_output, tokens_reasoning, tokens_audio, tokens_image,
      upstream_cost_nano_usd, counting_method, end_reason, upstream_id, upstream_name, provider_name, reason_code,
      description, original_transaction_id, ended_at)
    select i.id, i.tenant_id, i.trace_id, i.type, case when i.is_commit then 'COMMITTED' else 'VOIDED' end, i.channel,
      i.is_stream, i.epoch, i.process_id, i.hold_nano_usd, i.credit_limit_nano_usd, i.balance_before_nano_usd,
      i.balance_after_nano_usd, to_timestamp(i.day_window_start_ms / 1000.0),
      to_timestamp(i.month_window_start_ms / 1000.0), i.api_key_id, i.api_key_name, i.model, i.price_version, i.prices,
      i.scopes, coalesce(i.funding, 'wallet'), i.amount_nano_usd, i.tokens_input_uncached, i.tokens_input_cached,
      i.tokens_cache_write, i.tokens_output, i.tokens_reasoning, i.tokens_audio, i.tokens_image,
      coalesce(i.upstream_cost_nano_usd, 0), i.counting_method, i.end_reason, i.upstream_id, i.upstream_name,
      i.provider_name, i.reason_code, i.description, i.original_transaction_id, clock_timestamp()
    from input i
    -- The fence: a hold of an old epoch was not in the balance that today's holds were admitted against, and nobody
    -- looks any more for what a swept process leaves. While the sweeper is at a dead one, it or this commit wins. A void and
    -- a correction move no admitted money and may always be written.
    where i.is_new and (i.epoch = v_epoch and i.process_id = any (v_unswept) or not i.is_commit or i.type <> 'charge')
    on conflict do nothing
    returning id)
  select array_agg(w.id) into v_won from (select id from updated union all select id from inserted) w;

  perform billing_post_charges(v_won);
  if exists (select from billing_transaction b where b.id = any (v_won) and b.scopes is not null) then
    perform quota_count(v_won);
  end if;
  if exists (select from unnest(v_rows) r where r.house_costs is not null) then
    perform billing_post_house_costs(v_rows);
  end if;

  return query
    select i.id,
      case when i.id = any (v_won) then case when i.is_commit then 'committed' else 'voided' end
           when b.status = 'COMMITTED' then 'already_committed'
           when b.status = 'VOIDED' then 'already_voided'
           when i.is_new then 'fenced'
           else 'missing' end,
      i.tenant_id, w.posted_nano_usd, w.version
    from unnest(v_rows) i
    left join billing_transaction b on b.id = i.id
    left join lateral (
      select sum(a.posted_nano_usd)::bigint as posted_nano_usd, sum(a.version)::bigint as version
        from ledger_account a where a.tenant_id = i.tenant_id and a.name in ('wallet', 'promo')) w on true;
end $$;
comment on function billing_end is
  'Ends charges in one transaction: PENDING → COMMITTED or VOIDED with one winner, transfers, versions, counters, '
  'snapshots, and what attempts cost the house. Twice is harmless: the second answer says already_…. The balance and '
  'version of wallet and promo together are the ones to project.';
`;

/** What stood in the request log's JSON becomes rows; of those attempts neither tokens nor cost were known. */
const ATTEMPTS = `
insert into request_attempt (request_id, attempt, tenant_id, model, upstream_id, upstream_name, status, outcome,
                             is_served, duration_ms, paid_by, created_at)
select l.id, a.attempt, l.tenant_id, l.model, u.id, a.entry ->> 'upstream_name',
       case when a.entry ->> 'outcome' ~ '^[1-5][0-9][0-9]$' then (a.entry ->> 'outcome')::integer end,
       coalesce(a.entry ->> 'outcome', 'unknown'), s.is_served, coalesce((a.entry ->> 'duration_ms')::integer, 0),
       case when s.is_served then 'tenant' else 'nobody' end, l.created_at
  from request_log l
 cross join lateral jsonb_array_elements(l.attempts) with ordinality as a (entry, attempt)
 cross join lateral (select l.status = 200 and a.attempt = jsonb_array_length(l.attempts) as is_served) s
  left join upstream u on u.id::text = a.entry ->> 'upstream_id'
on conflict do nothing;
alter table request_log drop column attempts;
`;
