import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The two statements that write charges, as functions: one round trip and one transaction a batch, with locks taken in
 * one order (fences, accounts by id, rows). A later version is a new function body in a new migration; the parameter is a
 * JSON record set, so that old and new processes can call it side by side.
 */
export class MoneyFunctions1763700100000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(PROJECTION);
    await runner.query(PROCESS_FENCE);
    await runner.query(HOUSE_ACCOUNTS);
    await runner.query(ROW_TYPE);
    await runner.query(ADMIT);
    await runner.query(WALLET_SPLIT);
    await runner.query(END);
  }

  down(): Promise<void> {
    return Promise.reject(new Error('The functions that write money are replaced forward, never taken back.'));
  }
}

const PROJECTION = `
create table tenant_projection (
  tenant_id    uuid primary key,
  epoch        bigint not null,
  install_id   uuid not null,
  installed_at timestamptz not null default now()
);
comment on table tenant_projection is
  'The install of a tenant''s projection that may be active in Redis. Neither active nor waiting there in the same epoch '
  'means that it was lost.';

create function quota_fence() returns bigint language sql immutable as $$ select 7203514650193408::bigint $$;
comment on function quota_fence is
  'Advisory lock between PENDING rows and the epoch: taken shared by whoever inserts, exclusively by whoever raises.';
`;

/**
 * A process that was declared dead has its open charges swept: a PENDING row it brought after that would stay for ever.
 * The mark and the rows exclude each other by an advisory lock, because row locks would be written with every batch. A
 * trigger takes it, so that no way of marking a process can forget it.
 */
const PROCESS_FENCE = `
create function process_fence(p_process_id uuid) returns bigint language sql immutable
return hashtextextended('tollgate process ' || p_process_id::text, 0);
comment on function process_fence is
  'Advisory lock between PENDING rows of a process and the end of its life: taken shared by whoever inserts them.';

create function await_rows_of_process() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock(process_fence(old.id));
  return new;
end $$;
create trigger gateway_process_ends before update of status on gateway_process
  for each row when (old.status = 'alive' and new.status <> 'alive') execute function await_rows_of_process();
`;

/** House accounts have fixed ids: every charge names one, none looks it up. See src/billing/ledger/house-accounts.ts. */
const HOUSE_ACCOUNTS = `
insert into ledger_account (id, tenant_id, name) values
  ('00000000-0000-7000-8000-000000000001', null, 'revenue'),
  ('00000000-0000-7000-8000-000000000002', null, 'adjustment'),
  ('00000000-0000-7000-8000-000000000003', null, 'write_off');
`;

const ROW_TYPE = `
create type charge_row as (
  id uuid, tenant_id uuid, trace_id uuid, channel text, is_stream boolean, epoch bigint, process_id uuid,
  hold_nano_usd bigint, credit_limit_nano_usd bigint, balance_before_nano_usd bigint, balance_after_nano_usd bigint,
  day_window_start_ms bigint, month_window_start_ms bigint, api_key_id uuid, api_key_name text, model text,
  price_version bigint, prices jsonb,
  is_new boolean, is_commit boolean, type text, amount_nano_usd bigint,
  tokens_input_uncached bigint, tokens_input_cached bigint, tokens_cache_write bigint, tokens_output bigint,
  tokens_reasoning bigint, tokens_audio bigint, tokens_image bigint, counting_method text, end_reason text,
  upstream_id uuid, upstream_name text, provider_name text, reason_code text, description text
);
comment on type charge_row is
  'One charge as the gateway sends it. The first group is frozen at the reserve; the second says how it ended. '
  'is_new: its PENDING row was never written, one row in its final state replaces both.';
`;

/**
 * A session keeps the plans of its functions: one made while the tables were small scans them, and the cost of a charge
 * would grow with their number. A batch is at most some hundred rows, each found by an index. That plan is good for a batch
 * of any size, so none is made anew for the batch at hand: for a small one, that cost more than running it.
 */
const INDEXES_ONLY =
  'set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan';

const ADMIT = `
create function billing_admit(p_rows json) returns table (id uuid, status text)
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
    model, price_version, prices)
  select r.id, r.tenant_id, r.trace_id, 'charge', 'PENDING', r.channel, r.is_stream, r.epoch, r.process_id,
    r.hold_nano_usd, r.credit_limit_nano_usd, r.balance_before_nano_usd, r.balance_after_nano_usd,
    to_timestamp(r.day_window_start_ms / 1000.0), to_timestamp(r.month_window_start_ms / 1000.0),
    r.api_key_id, r.api_key_name, r.model, r.price_version, r.prices
  from unnest(v_rows) r
  where r.epoch = v_epoch and r.process_id = any (v_living)
  on conflict do nothing;

  -- A resend after a lost reply finds its own rows; a hold the sweeper voided first finds VOIDED; a fenced one, none.
  return query
    select r.id, coalesce(b.status, 'DEAD') from unnest(v_rows) r
    left join billing_transaction b on b.id = r.id
    where b.id is not null or not r.process_id = any (v_living);
end $$;
comment on function billing_admit is
  'Writes PENDING rows of holds whose epoch is still current and whose process is alive; answers the rows that exist now, '
  'with their status, and DEAD for those of a process that is not alive. A row not answered was fenced.';
`;

/** The credit limit is each charge's own, frozen at its reserve: charges of one batch may bring different ones. */
const WALLET_SPLIT = `
create function wallet_after_charge(p_after bigint, p_posted bigint, p_amount bigint, p_credit_limit bigint)
returns bigint language plpgsql immutable parallel safe as $$
declare
  v_posted bigint := coalesce(p_after, p_posted);
begin
  return least(v_posted, greatest(v_posted - p_amount, -p_credit_limit));
end $$;
comment on function wallet_after_charge is
  'A charge takes the wallet down to -(its credit limit) and no lower; one that finds it there or below takes nothing.';

create aggregate wallet_after_charges(bigint, bigint, bigint) (
  sfunc = wallet_after_charge, stype = bigint, parallel = safe
);
comment on aggregate wallet_after_charges(bigint, bigint, bigint) is
  'posted (of the first row), amount, credit limit: what the wallet has posted after these charges, one after the other.';
`;

const END = `
create function billing_end(p_rows json)
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
    where a.tenant_id = any (v_tenants) and a.name in ('wallet', 'overrun') order by a.id for update;

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
      api_key_id, api_key_name, model, price_version, prices, amount_nano_usd, tokens_input_uncached,
      tokens_input_cached, tokens_cache_write, tokens_output, tokens_reasoning, tokens_audio, tokens_image,
      counting_method, end_reason, upstream_id, upstream_name, provider_name, reason_code, description, ended_at)
    select i.id, i.tenant_id, i.trace_id, i.type, case when i.is_commit then 'COMMITTED' else 'VOIDED' end, i.channel,
      i.is_stream, i.epoch, i.process_id, i.hold_nano_usd, i.credit_limit_nano_usd, i.balance_before_nano_usd,
      i.balance_after_nano_usd, to_timestamp(i.day_window_start_ms / 1000.0),
      to_timestamp(i.month_window_start_ms / 1000.0), i.api_key_id, i.api_key_name, i.model, i.price_version, i.prices,
      i.amount_nano_usd, i.tokens_input_uncached, i.tokens_input_cached, i.tokens_cache_write, i.tokens_output,
      i.tokens_reasoning, i.tokens_audio, i.tokens_image, i.counting_method, i.end_reason, i.upstream_id,
      i.upstream_name, i.provider_name, i.reason_code, i.description, clock_timestamp()
    from input i
    -- The fence: a hold of an old epoch was not in the balance that today's holds were admitted against, and nobody
    -- looks any more for what a swept process leaves. While the sweeper is at a dead one, it or this commit wins. A void and
    -- a correction move no admitted money and may always be written.
    where i.is_new and (i.epoch = v_epoch and i.process_id = any (v_unswept) or not i.is_commit or i.type <> 'charge')
    on conflict do nothing
    returning id)
  select array_agg(w.id) into v_won from (select id from updated union all select id from inserted) w;

  perform billing_post_charges(v_rows, v_won);

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
    left join ledger_account w on w.tenant_id = i.tenant_id and w.name = 'wallet';
end $$;
comment on function billing_end is
  'Ends charges in one transaction: PENDING → COMMITTED or VOIDED with one winner, transfers, versions and snapshots. '
  'Twice is harmless: the second answer says already_…. The wallet''s posted balance and version are the ones to project.';

create function billing_post_charges(p_rows charge_row[], p_won uuid[]) returns void
language sql ${INDEXES_ONLY} as $$
  -- Charges of one tenant take their turn in the order of their ids: each takes from the wallet what the ones before have
  -- left there, the rest from overrun, and leaves a version of its own.
  with paid as (
    select r.id, r.tenant_id, r.amount_nano_usd, w.id as wallet_id, o.id as overrun_id, w.posted_nano_usd as posted,
      wallet_after_charges(w.posted_nano_usd, r.amount_nano_usd, r.credit_limit_nano_usd)
        over (partition by r.tenant_id order by r.id rows unbounded preceding) as posted_after
    from unnest(p_rows) r
    left join ledger_account w on w.tenant_id = r.tenant_id and w.name = 'wallet'
    left join ledger_account o on o.tenant_id = r.tenant_id and o.name = 'overrun'
    where r.id = any (p_won) and r.is_commit),
  charged as (
    -- Without accounts nothing is known of posted: the transfer then names no account, which refuses it.
    select id, wallet_id, overrun_id, amount_nano_usd,
      coalesce(lag(posted_after, 1, posted) over (partition by tenant_id order by id) - posted_after,
        amount_nano_usd) as wallet_part
    from paid),
  parts as (
    select id, wallet_id as account_id, wallet_part as amount from charged where wallet_part > 0
    union all
    select id, overrun_id, amount_nano_usd - wallet_part from charged where amount_nano_usd > wallet_part),
  numbered as (
    select p.*, a.version + row_number() over (partition by p.account_id order by p.id) as version
    from parts p left join ledger_account a on a.id = p.account_id),
  posted as (
    update ledger_account a set posted_nano_usd = a.posted_nano_usd - s.amount, version = a.version + s.changes
    from (select account_id, sum(amount)::bigint as amount, count(*) as changes from parts group by account_id) s
    where a.id = s.account_id),
  transferred as (
    insert into ledger_transfer (kind, transaction_id, debit_account_id, credit_account_id, amount_nano_usd, debit_version)
    select 'charge', id, account_id, '00000000-0000-7000-8000-000000000001', amount, version from numbered)
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
