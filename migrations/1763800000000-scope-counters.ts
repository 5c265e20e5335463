import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What a hold counts in its scopes, and who pays it, frozen in its row; the counters' committed side in Postgres, kept in
 * the transaction that settles, so that a projection is rebuilt from it and Postgres can decide alone. New bodies of the
 * functions that write money: they book by funding (promo before the wallet; the house grants allowances and
 * subscriptions) and keep the counters.
 */
export class ScopeCounters1763800000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(COUNTERS);
    await runner.query(ROWS);
    await runner.query(FUNDING);
    await runner.query(WATERMARK);
    await runner.query(ADMIT);
    await runner.query(COUNT);
    await runner.query(POST);
    await runner.query(END);
    await runner.query(EXTEND);
    await runner.query(NEW_LAYOUT);
  }

  down(): Promise<void> {
    return Promise.reject(new Error('Rows carry what they counted: it is never taken back.'));
  }
}

const COUNTERS = `
create table quota_counter (
  tenant_id       uuid not null,
  counter         text not null,
  window_start_ms bigint not null,
  window_end_ms   bigint not null,
  used            bigint not null,
  counted         bigint not null default 0,
  primary key (tenant_id, counter)
) with (fillfactor = 50);
comment on table quota_counter is
  'Requests or nano-USD of the COMMITTED charges of a counter''s newest window (start and end 0: its whole life). What '
  'open charges hold comes on top, from their rows. Written by billing_end, under the tenant''s wallet row.';
comment on column quota_counter.counted is
  'What of used came from charges that name this window; the rest a request quota found there when it was first met.';
`;

const ROWS = `
alter table billing_transaction add column scopes jsonb;
alter table billing_transaction add column extended_nano_usd bigint not null default 0 check (extended_nano_usd >= 0);
alter table billing_transaction add column checkpoint jsonb;
alter table billing_transaction add column input_tokens_estimate bigint not null default 0
  check (input_tokens_estimate >= 0);
alter table billing_transaction drop constraint billing_transaction_funding_check;
alter table billing_transaction add constraint billing_transaction_funding_check
  check (funding in ('wallet', 'allowance', 'subscription'));
comment on column billing_transaction.scopes is
  '[[counter, measure, start ms, end ms], ...]: the windows this charge counts in, frozen at the reserve; measure r is one '
  'request, u its amount in nano-USD.';
comment on column billing_transaction.extended_nano_usd is 'What of the hold was added after its admission.';
comment on column billing_transaction.checkpoint is
  'Tokens by bucket that had been delivered when this was written: what is charged where the process dies.';
comment on column billing_transaction.input_tokens_estimate is
  'Of the request, at admission: what is charged of a dead process'' charge without checkpoint where the policy says so.';
alter type charge_row add attribute scopes jsonb, add attribute funding text, add attribute input_tokens_estimate bigint;
`;

/** Wallet, credit limit and promo together stay exact in doubles: 9,000,000 and 7,000 USD are below 2^53 nano-USD. */
const FUNDING = `
insert into ledger_account (id, tenant_id, name) values
  ('00000000-0000-7000-8000-000000000004', null, 'granted:allowance'),
  ('00000000-0000-7000-8000-000000000005', null, 'granted:subscription');
alter table ledger_account add constraint ledger_account_promo_check
  check (name <> 'promo' or posted_nano_usd between 0 and 7000000000000);

create view tenant_balance as
  select tenant_id, sum(posted_nano_usd)::bigint as posted_nano_usd, sum(version)::bigint as version
    from ledger_account where name in ('wallet', 'promo') and tenant_id is not null group by tenant_id;
comment on view tenant_balance is
  'What a tenant can spend before credit, and a version that rises with each change of either account.';
`;

const INDEXES_ONLY =
  'set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan';

/**
 * Open charges are looked for from the watermarks of the processes on. A call whose body took long to arrive has an older
 * trace id than its process' last beat allowed for: its row lowers the watermark in the transaction that brings it.
 */
const WATERMARK = `
create function process_lower_watermarks(p_rows charge_row[]) returns void
language sql ${INDEXES_ONLY} as $$
  update gateway_process p set oldest_open_id = r.trace_id
    from (select distinct on (process_id) process_id, trace_id from unnest(p_rows) order by process_id, trace_id) r
   where p.id = r.process_id and r.trace_id < p.oldest_open_id;
$$;
comment on function process_lower_watermarks is
  'Keeps gateway_process.oldest_open_id true for PENDING rows that are inserted in this transaction.';
`;

const ADMIT = `
create or replace function billing_admit(p_rows json) returns table (id uuid, status text)
language plpgsql ${INDEXES_ONLY} as $$
#variable_conflict use_column
declare
  v_rows charge_row[] := array(select r from json_populate_recordset(null::charge_row, p_rows) r);
  v_processes uuid[] := array(select distinct (unnest(v_rows)).process_id order by 1);
  v_epoch bigint;
  v_living uuid[];
begin
  -- Shared: while this transaction runs nobody can raise the epoch or declare one of the processes dead; the reads below
  -- see the last raise and the last mark.
  perform pg_advisory_xact_lock_shared(quota_fence());
  perform pg_advisory_xact_lock_shared(process_fence(p)) from unnest(v_processes) p;
  select a.epoch, array(select p.id from gateway_process p where p.id = any (v_processes) and p.status = 'alive')
    into v_epoch, v_living from quota_authority a;

  insert into billing_transaction (
    id, tenant_id, trace_id, type, status, channel, is_stream, epoch, process_id, hold_nano_usd, credit_limit_nano_usd,
    balance_before_nano_usd, balance_after_nano_usd, day_window_start, month_window_start, api_key_id, api_key_name,
    model, price_version, prices, scopes, funding, input_tokens_estimate)
  select r.id, r.tenant_id, r.trace_id, 'charge', 'PENDING', r.channel, r.is_stream, r.epoch, r.process_id,
    r.hold_nano_usd, r.credit_limit_nano_usd, r.balance_before_nano_usd, r.balance_after_nano_usd,
    to_timestamp(r.day_window_start_ms / 1000.0), to_timestamp(r.month_window_start_ms / 1000.0),
    r.api_key_id, r.api_key_name, r.model, r.price_version, r.prices, r.scopes, coalesce(r.funding, 'wallet'),
    coalesce(r.input_tokens_estimate, 0)
  from unnest(v_rows) r
  where r.epoch = v_epoch and r.process_id = any (v_living)
  on conflict do nothing;
  perform process_lower_watermarks(v_rows);

  -- A resend after a lost reply finds its own rows; a hold the sweeper voided first finds VOIDED; a fenced one, none.
  return query
    select r.id, coalesce(b.status, 'DEAD') from unnest(v_rows) r
    left join billing_transaction b on b.id = r.id
    where b.id is not null or not r.process_id = any (v_living);
end $$;
`;

/** One row a counter: of several windows in one batch the newest remains, as in Redis. */
const COUNT = `
create function quota_count(p_won uuid[]) returns void
language sql ${INDEXES_ONLY} as $$
  insert into quota_counter as c (tenant_id, counter, window_start_ms, window_end_ms, used, counted)
  select distinct on (d.tenant_id, d.counter) d.tenant_id, d.counter, d.start_ms, d.end_ms, d.used, d.used
  from (
    select b.tenant_id, s ->> 0 as counter, (s ->> 2)::bigint as start_ms, max((s ->> 3)::bigint) as end_ms,
           sum(case s ->> 1 when 'r' then 1 else b.amount_nano_usd end)::bigint as used
    from billing_transaction b cross join lateral jsonb_array_elements(b.scopes) s
    where b.id = any (p_won) and b.status = 'COMMITTED' and b.type = 'charge'
    group by 1, 2, 3) d
  order by d.tenant_id, d.counter, d.start_ms desc
  on conflict (tenant_id, counter) do update set
    used = case when excluded.window_start_ms = c.window_start_ms then c.used + excluded.used else excluded.used end,
    counted =
      case when excluded.window_start_ms = c.window_start_ms then c.counted + excluded.counted else excluded.counted end,
    window_start_ms = excluded.window_start_ms,
    window_end_ms = greatest(excluded.window_end_ms,
      case when excluded.window_start_ms = c.window_start_ms then c.window_end_ms else 0 end)
  where excluded.window_start_ms >= c.window_start_ms;
$$;
comment on function quota_count is
  'Adds committed charges to the counters of the windows frozen in them. A window that a newer one has followed counts no '
  'more. A correction is not counted: the charge it corrects was given back.';
`;

const POST = `
create function billing_post_charges(p_won uuid[]) returns void
language sql ${INDEXES_ONLY} as $$
  -- Charges of one tenant take their turn in the order of their ids: each takes from promo, then from the wallet what the
  -- ones before have left there, the rest from overrun, and leaves a version of its own.
  with won as (
    select b.id, b.tenant_id, b.amount_nano_usd, b.credit_limit_nano_usd, b.funding
    from billing_transaction b where b.id = any (p_won) and b.status = 'COMMITTED'),
  paid as (
    select r.id, r.tenant_id, r.amount_nano_usd, r.credit_limit_nano_usd, p.id as promo_id, w.id as wallet_id,
      o.id as overrun_id, w.posted_nano_usd as posted,
      least(r.amount_nano_usd, greatest(0, coalesce(p.posted_nano_usd, 0)
        - (sum(r.amount_nano_usd) over (partition by r.tenant_id order by r.id rows unbounded preceding)
           - r.amount_nano_usd)))::bigint as promo_part
    from won r
    left join ledger_account p on p.tenant_id = r.tenant_id and p.name = 'promo'
    left join ledger_account w on w.tenant_id = r.tenant_id and w.name = 'wallet'
    left join ledger_account o on o.tenant_id = r.tenant_id and o.name = 'overrun'
    where r.funding = 'wallet'),
  walked as (
    select *, amount_nano_usd - promo_part as rest,
      wallet_after_charges(posted, amount_nano_usd - promo_part, credit_limit_nano_usd)
        over (partition by tenant_id order by id rows unbounded preceding) as posted_after
    from paid),
  charged as (
    -- Without accounts nothing is known of posted: the transfer then names no account, which refuses it.
    select id, promo_id, promo_part, wallet_id, overrun_id, rest,
      coalesce(lag(posted_after, 1, posted) over (partition by tenant_id order by id) - posted_after, rest) as wallet_part
    from walked),
  parts as (
    select id, promo_id as account_id, promo_part as amount from charged where promo_part > 0
    union all
    select id, wallet_id, wallet_part from charged where wallet_part > 0
    union all
    select id, overrun_id, rest - wallet_part from charged where rest > wallet_part),
  numbered as (
    select p.*, a.version + row_number() over (partition by p.account_id order by p.id) as version
    from parts p left join ledger_account a on a.id = p.account_id),
  posted as (
    update ledger_account a set posted_nano_usd = a.posted_nano_usd - s.amount, version = a.version + s.changes
    from (select account_id, sum(amount)::bigint as amount, count(*) as changes from parts group by account_id) s
    where a.id = s.account_id),
  transferred as (
    insert into ledger_transfer (kind, transaction_id, debit_account_id, credit_account_id, amount_nano_usd, debit_version)
    select 'charge', id, account_id, '00000000-0000-7000-8000-000000000001'::uuid, amount, version from numbered
    union all
    select 'charge', id,
      case funding when 'allowance' then '00000000-0000-7000-8000-000000000004'::uuid
                   else '00000000-0000-7000-8000-000000000005'::uuid end,
      '00000000-0000-7000-8000-000000000001'::uuid, amount_nano_usd, null
    from won where funding <> 'wallet' and amount_nano_usd > 0)
  insert into request_billing_snapshot (transaction_id, tenant_id, arithmetic)
  select b.id, b.tenant_id, jsonb_build_object(
    'formula', 'ceil((sum(tokens * price) + per_request * 10^6) * multiplier / 10^12)',
    'price_version', b.price_version, 'prices', b.prices, 'amount_nano_usd', b.amount_nano_usd::text,
    'tokens', jsonb_build_object(
      'input_uncached', b.tokens_input_uncached, 'input_cached', b.tokens_input_cached,
      'cache_write', b.tokens_cache_write, 'output', b.tokens_output, 'reasoning', b.tokens_reasoning,
      'audio', b.tokens_audio, 'image', b.tokens_image))
  from billing_transaction b where b.id = any (p_won) and b.status = 'COMMITTED';
$$;
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
      counting_method, end_reason, upstream_id, upstream_name, provider_name, reason_code, description, ended_at)
    select i.id, i.tenant_id, i.trace_id, i.type, case when i.is_commit then 'COMMITTED' else 'VOIDED' end, i.channel,
      i.is_stream, i.epoch, i.process_id, i.hold_nano_usd, i.credit_limit_nano_usd, i.balance_before_nano_usd,
      i.balance_after_nano_usd, to_timestamp(i.day_window_start_ms / 1000.0),
      to_timestamp(i.month_window_start_ms / 1000.0), i.api_key_id, i.api_key_name, i.model, i.price_version, i.prices,
      i.scopes, coalesce(i.funding, 'wallet'), i.amount_nano_usd, i.tokens_input_uncached, i.tokens_input_cached,
      i.tokens_cache_write, i.tokens_output, i.tokens_reasoning, i.tokens_audio, i.tokens_image, i.counting_method,
      i.end_reason, i.upstream_id, i.upstream_name, i.provider_name, i.reason_code, i.description, clock_timestamp()
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
  'Ends charges in one transaction: PENDING → COMMITTED or VOIDED with one winner, transfers, versions, counters and '
  'snapshots. Twice is harmless: the second answer says already_…. The balance and version of wallet and promo together '
  'are the ones to project.';
drop function billing_post_charges(charge_row[], uuid[]);
`;

/** Under the wallet's lock: a rebuild sees the hold before or after, with the projection it was raised in. */
const EXTEND = `
create function billing_extend(p_rows json) returns table (id uuid, hold_nano_usd bigint)
language plpgsql ${INDEXES_ONLY} as $$
#variable_conflict use_column
declare
  v_epoch bigint;
begin
  perform pg_advisory_xact_lock_shared(quota_fence());
  select a.epoch into v_epoch from quota_authority a;
  perform 1 from ledger_account a
    where a.tenant_id in (select distinct (r ->> 'tenant_id')::uuid from json_array_elements(p_rows) r)
      and a.name in ('wallet', 'promo', 'overrun') order by a.id for update;
  return query
    update billing_transaction b set
      extended_nano_usd = b.extended_nano_usd + greatest(0, i.hold_nano_usd - b.hold_nano_usd),
      hold_nano_usd = greatest(b.hold_nano_usd, i.hold_nano_usd)
    from json_to_recordset(p_rows) as i (id uuid, hold_nano_usd bigint, epoch bigint)
    where b.id = i.id and b.status = 'PENDING' and i.epoch = v_epoch
    returning b.id, b.hold_nano_usd;
end $$;
comment on function billing_extend is
  'Makes raised holds durable; answers those of the epoch that is still current whose charge is open. Twice is harmless.';
`;

/** A projection laid by the scripts of before is not to be read by these: every tenant is rebuilt on first use. */
const NEW_LAYOUT = `
update quota_authority set epoch = epoch + 1, changed_at = clock_timestamp();
`;
