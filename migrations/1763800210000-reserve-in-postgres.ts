import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The functions by which Postgres decides over quota in mode `postgres`: from the ledger itself, reservation and PENDING
 * row in one transaction, with the answers of redis-scripts/quota_deduct.lua and quota_extend.lua.
 */
export class ReserveInPostgres1763800210000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(RESERVE);
    await runner.query(EXTEND);
    await runner.query(ABANDON);
  }

  down(): Promise<void> {
    return Promise.reject(new Error('The functions that write money are replaced forward, never taken back.'));
  }
}

const INDEXES_ONLY =
  'set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan';

const RESERVE = `
create function quota_reserve(p_rows json, p_waits boolean)
returns table (id uuid, status text, now_ms bigint, hold_nano_usd bigint, balance_before_nano_usd bigint, funding text,
  counted jsonb, place int, check_limit bigint, used bigint, resets_ms bigint)
language plpgsql ${INDEXES_ONLY} as $$
#variable_conflict use_column
declare
  v_rows charge_row[] := array(select r from json_populate_recordset(null::charge_row, p_rows) r);
  v_requests jsonb := p_rows::jsonb;
  v_processes uuid[] := array(select distinct (unnest(v_rows)).process_id order by 1);
  v_tenants uuid[];
  v_epoch bigint;
  v_living uuid[];
  v_unopened uuid[];
  v_standing uuid[];
  v_slot_of jsonb;
  v_state quota_use[] := '{}';
  v_spendable bigint[];
  v_open bigint[];
  v_found record;
  v_request jsonb;
  r charge_row;
  d quota_decision;
  u quota_use;
  v_admitted charge_row[] := '{}';
  t int;
begin
  -- Shared: while this transaction runs nobody can raise the epoch or declare one of the processes dead; the reads below
  -- see the last raise and the last mark.
  perform pg_advisory_xact_lock_shared(quota_fence());
  perform pg_advisory_xact_lock_shared(process_fence(p)) from unnest(v_processes) p;
  select a.epoch, array(select p.id from gateway_process p where p.id = any (v_processes) and p.status = 'alive')
    into v_epoch, v_living from quota_authority a where a.mode = 'postgres';
  v_tenants := quota_lock_tenants(array(select distinct (unnest(v_rows)).tenant_id), p_waits);
  v_spendable := array_fill(0::bigint, array[cardinality(v_tenants)]);
  v_open := v_spendable;
  v_unopened := quota_unopened(v_requests);
  v_standing := array(select b.id from billing_transaction b where b.id in (select (unnest(v_rows)).id));

  for v_found in
    select array_position(v_tenants, o.tenant_id) as t, coalesce(sum(o.hold_nano_usd) filter (where o.funding = 'wallet'), 0)
           as held, count(*) as n from quota_open_rows(v_tenants) o group by o.tenant_id
  loop
    v_spendable[v_found.t] := -v_found.held;
    v_open[v_found.t] := v_found.n;
  end loop;
  for v_found in
    select array_position(v_tenants, b.tenant_id) as t, b.posted_nano_usd as posted
      from tenant_balance b where b.tenant_id = any (v_tenants)
  loop
    v_spendable[v_found.t] := v_spendable[v_found.t] + v_found.posted;
  end loop;
  select coalesce(jsonb_object_agg(k.name, k.slot), '{}') into v_slot_of from (
    select n.name, row_number() over (order by n.name) as slot from (
      select distinct (q ->> 'tenant_id') || ' ' || (c ->> 1) as name
        from jsonb_array_elements(v_requests) q cross join lateral jsonb_array_elements(q -> 'checks') c
       where c ->> 0 <> 'o') n) k;
  for v_found in select s::int as slot from generate_series(1, (select count(*) from jsonb_object_keys(v_slot_of))) s loop
    v_state[v_found.slot] := (v_found.slot, 0, 0, 0);
  end loop;
  for v_found in select c.slot, c.start_ms, c.end_ms, c.used from quota_counters_now(v_tenants, v_slot_of) c loop
    v_state[v_found.slot] := (v_found.slot, v_found.start_ms, v_found.end_ms, v_found.used);
  end loop;

  for i in 1 .. cardinality(v_rows) loop
    r := v_rows[i];
    v_request := v_requests -> (i - 1);
    t := array_position(v_tenants, r.tenant_id);
    id := r.id; now_ms := floor(extract(epoch from clock_timestamp()) * 1000)::bigint + (v_request ->> 'offset_ms')::bigint;
    hold_nano_usd := r.hold_nano_usd; balance_before_nano_usd := null; funding := null; counted := null; place := null;
    check_limit := null; used := null; resets_ms := null;
    if t is null then
      status := 'LOCKED';
      return next;
      continue;
    end if;
    if r.id = any (v_standing) then
      -- A resend, also of another epoch: a row that is open holds, whoever counts it now.
      select case b.status when 'PENDING' then 'ADMITTED' else 'ENDED' end, b.hold_nano_usd - b.extended_nano_usd,
             b.balance_before_nano_usd, b.funding, coalesce(b.scopes, '[]'),
             floor(extract(epoch from b.created_at) * 1000)::bigint + (v_request ->> 'offset_ms')::bigint
        into status, hold_nano_usd, balance_before_nano_usd, funding, counted, now_ms
        from billing_transaction b where b.id = r.id;
      return next;
      continue;
    end if;
    status := case when v_epoch is null or r.epoch <> v_epoch then 'FENCED'
                   when not r.process_id = any (v_living) then 'DEAD'
                   when now_ms < (v_request -> 'days' ->> 0)::bigint or now_ms >= (v_request -> 'days' ->> 2)::bigint
                     then 'CLOCK'
                   when r.id = any (v_unopened) then 'UNOPENED' end;
    if status is not null then
      return next;
      continue;
    end if;
    d := quota_decide(v_request, now_ms, v_spendable[t] + r.credit_limit_nano_usd, v_open[t], v_slot_of, v_state);
    status := d.status; funding := d.funding; counted := d.counted; place := d.place; check_limit := d.check_limit;
    used := d.used; resets_ms := d.resets_ms;
    balance_before_nano_usd := v_spendable[t] + r.credit_limit_nano_usd;
    return next;
    continue when d.status <> 'ADMITTED' or (v_request ->> 'is_dry')::boolean;

    foreach u in array d.uses loop
      v_state[u.slot] := u;
    end loop;
    v_open[t] := v_open[t] + 1;
    r.funding := d.funding;
    r.balance_before_nano_usd := balance_before_nano_usd;
    r.balance_after_nano_usd := balance_before_nano_usd - case d.funding when 'wallet' then r.hold_nano_usd else 0 end;
    if d.funding = 'wallet' then v_spendable[t] := v_spendable[t] - r.hold_nano_usd; end if;
    r.scopes := quota_frozen(d.counted);
    r.day_window_start_ms := quota_period(d.counted, 'day', v_request -> 'days', now_ms);
    r.month_window_start_ms := quota_period(d.counted, 'month', v_request -> 'months', now_ms);
    v_admitted := v_admitted || r;
  end loop;

  perform process_lower_watermarks(v_admitted);
  insert into billing_transaction (
    id, tenant_id, trace_id, type, status, channel, is_stream, epoch, process_id, hold_nano_usd, credit_limit_nano_usd,
    balance_before_nano_usd, balance_after_nano_usd, day_window_start, month_window_start, api_key_id, api_key_name,
    model, price_version, prices, scopes, funding, input_tokens_estimate)
  select a.id, a.tenant_id, a.trace_id, 'charge', 'PENDING', a.channel, a.is_stream, a.epoch, a.process_id,
    a.hold_nano_usd, a.credit_limit_nano_usd, a.balance_before_nano_usd, a.balance_after_nano_usd,
    to_timestamp(a.day_window_start_ms / 1000.0), to_timestamp(a.month_window_start_ms / 1000.0),
    a.api_key_id, a.api_key_name, a.model, a.price_version, a.prices, a.scopes, a.funding,
    coalesce(a.input_tokens_estimate, 0)
  from unnest(v_admitted) a;
end $$;
comment on function quota_reserve is
  'Reserves holds one after another from the ledger and writes the PENDING rows of those that are admitted. A row is a '
  'charge_row with checks ([kind, counter, measure, limit, a, b, c], see quota_deduct.lua; of a rolling one a is what the '
  'process has counted so far, and the row freezes nothing of it), tokens, days and months (start, next start, next end), '
  'offset_ms, is_dry. Answers ADMITTED, REFUSED place limit used resets (place 0: the balance), CLOCK now, UNOPENED (see '
  'quota_unopened), FENCED (another epoch, or Postgres does not decide), DEAD (its process), ENDED (its charge) or, unless '
  'p_waits, LOCKED (somebody has the tenant''s accounts; nothing is known of the row).';

create function quota_frozen(p_counted jsonb) returns jsonb language sql immutable
return (select jsonb_agg(c - 4 order by n) from jsonb_array_elements(p_counted) with ordinality as e (c, n));

create function quota_period(p_counted jsonb, p_counter text, p_bounds jsonb, p_now bigint) returns bigint
language sql immutable
return coalesce(
  (select (c ->> 2)::bigint from jsonb_array_elements(p_counted) c where c ->> 0 = p_counter),
  (p_bounds ->> case when p_now >= (p_bounds ->> 1)::bigint then 1 else 0 end)::bigint);
comment on function quota_period is 'Start of a hold''s day or month: as its request quota counted it, else by the calendar.';
`;

const EXTEND = `
create function quota_extend(p_row jsonb)
returns table (status text, place int, check_limit bigint, used bigint, resets_ms bigint)
language plpgsql ${INDEXES_ONLY} as $$
#variable_conflict use_column
declare
  v_row billing_transaction;
  v_tenants uuid[] := array[(p_row ->> 'tenant_id')::uuid];
  v_delta bigint;
  v_available bigint;
  v_found record;
begin
  perform pg_advisory_xact_lock_shared(quota_fence());
  if not exists (select from quota_authority a where a.mode = 'postgres' and a.epoch = (p_row ->> 'epoch')::bigint) then
    return query select 'FENCED', null::int, null::bigint, null::bigint, null::bigint;
    return;
  end if;
  perform quota_lock_tenants(v_tenants, true);
  select * into v_row from billing_transaction b
    where b.id = (p_row ->> 'id')::uuid and b.tenant_id = v_tenants[1] and b.status = 'PENDING' for update;
  if not found then
    return query select 'GONE', null::int, null::bigint, null::bigint, null::bigint;
    return;
  end if;
  v_delta := (p_row ->> 'hold_nano_usd')::bigint - v_row.hold_nano_usd;
  if v_delta <= 0 then
    return query select 'EXTENDED', null::int, null::bigint, null::bigint, null::bigint;
    return;
  end if;
  select b.posted_nano_usd + (p_row ->> 'credit_limit_nano_usd')::bigint - coalesce((
      select sum(o.hold_nano_usd) from quota_open_rows(v_tenants) o where o.funding = 'wallet'), 0)
    into v_available from tenant_balance b where b.tenant_id = v_tenants[1];
  if v_row.funding = 'wallet' and v_delta > v_available then
    return query select 'REFUSED', 0, v_delta, v_available, null::bigint;
    return;
  end if;
  -- Of the windows frozen in the hold those that are still the newest; one that has passed limits nothing any more.
  select l.n, l.limit_nano_usd, c.used, nullif(c.end_ms, 0) as end_ms into v_found
    from (select (e ->> 0) as counter, (e ->> 1)::bigint as limit_nano_usd, n::int
            from jsonb_array_elements(p_row -> 'limits') with ordinality as x (e, n)) l
    join jsonb_array_elements(coalesce(v_row.scopes, '[]')) s on s ->> 0 = l.counter and s ->> 1 = 'u'
    cross join lateral quota_counters_now(v_tenants, jsonb_build_object(v_tenants[1] || ' ' || l.counter, l.n)) c
   where c.start_ms = (s ->> 2)::bigint and c.used + v_delta > l.limit_nano_usd
   order by l.n limit 1;
  if found then
    return query select 'REFUSED', v_found.n, v_found.limit_nano_usd, v_found.used, v_found.end_ms;
    return;
  end if;
  update billing_transaction b set
    hold_nano_usd = b.hold_nano_usd + v_delta, extended_nano_usd = b.extended_nano_usd + v_delta where b.id = v_row.id;
  return query select 'EXTENDED', null::int, null::bigint, null::bigint, null::bigint;
end $$;
comment on function quota_extend is
  'Raises an open hold, durably, to a larger amount, or refuses and changes nothing: id, tenant_id, epoch, hold_nano_usd, '
  'credit_limit_nano_usd, limits ([counter, nano-USD], in the order of the places that refuse). Twice is harmless.';
`;

const ABANDON = `
create function quota_abandon(p_row jsonb) returns int
language plpgsql ${INDEXES_ONLY} as $$
declare
  v_ids uuid[] := array(select e::uuid from jsonb_array_elements_text(p_row -> 'ids') e);
  v_ended int;
begin
  perform pg_advisory_xact_lock_shared(quota_fence());
  perform quota_lock_tenants(array[(p_row ->> 'tenant_id')::uuid], true);
  with voided as (
    update billing_transaction b set status = 'VOIDED', reason_code = 'HOLD_RELEASED', end_reason = 'failed',
           ended_at = clock_timestamp()
     where b.id = any (v_ids) and b.status = 'PENDING' and b.tenant_id = (p_row ->> 'tenant_id')::uuid
    returning 1)
  select count(*) into v_ended from voided;
  -- A reservation that is still on its way collides with this.
  insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, epoch, process_id, reason_code,
    end_reason, ended_at)
  select i, (p_row ->> 'tenant_id')::uuid, i, 'charge', 'VOIDED', 'external', a.epoch, (p_row ->> 'process_id')::uuid,
    'HOLD_RELEASED', 'failed', clock_timestamp()
  from unnest(v_ids) i cross join quota_authority a
  where not exists (select from billing_transaction b where b.id = i)
  on conflict do nothing;
  return v_ended;
end $$;
comment on function quota_abandon is
  'Ends holds that nobody uses (ids, tenant_id, process_id): open rows are voided, and where there is none a voided one is '
  'laid in the way. Twice is harmless.';
`;
