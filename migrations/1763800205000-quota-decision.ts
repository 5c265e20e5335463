import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What a tenant's scopes are now, from the ledger alone, and what becomes of one hold against that: the rules of
 * redis-scripts/quota_deduct.lua, for the functions that reserve in Postgres.
 */
export class QuotaDecision1763800205000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(LOCKS);
    await runner.query(OPEN_ROWS);
    await runner.query(UNOPENED);
    await runner.query(STATE);
    await runner.query(WINDOW);
    await runner.query(DECIDE);
  }

  down(): Promise<void> {
    return Promise.reject(new Error('The functions that decide over money are replaced forward, never taken back.'));
  }
}

const INDEXES_ONLY =
  'set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan';

/** Under these locks a tenant's reservations, endings and rebuilds come one after another. */
const LOCKS = `
create function quota_lock_tenants(p_tenants uuid[], p_waits boolean) returns uuid[] language plpgsql ${INDEXES_ONLY} as $$
declare
  v_locked uuid[];
begin
  insert into ledger_account (id, tenant_id, name, posted_nano_usd)
  select gen_random_uuid(), t, n, 0 from unnest(p_tenants) t cross join (values ('wallet'), ('overrun')) as v (n)
  where not exists (select from ledger_account a where a.tenant_id = t and a.name = n)
  order by t, n
  on conflict do nothing;
  if p_waits then
    perform 1 from ledger_account a
      where a.tenant_id = any (p_tenants) and a.name in ('wallet', 'promo', 'overrun') order by a.id for update;
    return p_tenants;
  end if;
  v_locked := array(
    select a.id from ledger_account a
      where a.tenant_id = any (p_tenants) and a.name in ('wallet', 'promo', 'overrun') order by a.id for update skip locked);
  return array(
    select a.tenant_id from ledger_account a
      where a.tenant_id = any (p_tenants) and a.name in ('wallet', 'promo', 'overrun')
      group by a.tenant_id having bool_and(a.id = any (v_locked)) order by a.tenant_id);
end $$;
comment on function quota_lock_tenants is
  'Locks the accounts by id, made on first use, and answers whose it has. p_waits: it waits for all; else it takes what is '
  'free, waits for none, and so stands in no circle. Whoever makes some holds no account''s lock yet.';
`;

/**
 * Open charges as their rows have them. Like OLDEST_OPEN_ID in src/quota/oldest-open-id.ts it reads an
 * index range of the recent past: once a statement, however many reservations that carries.
 */
const OPEN_ROWS = `
create function quota_open_rows(p_tenants uuid[])
returns table (tenant_id uuid, hold_nano_usd bigint, funding text, scopes jsonb)
language sql stable ${INDEXES_ONLY} as $$
  select b.tenant_id, b.hold_nano_usd, b.funding, b.scopes from billing_transaction b
   where b.tenant_id = any (p_tenants) and b.status = 'PENDING' and b.trace_id >= coalesce(
     (select p.oldest_open_id from gateway_process p where p.status in ('alive', 'dead') order by p.oldest_open_id limit 1),
     '00000000-0000-0000-0000-000000000000'::uuid)
$$;
`;

/** They look back over the tenant's calls, for which no reservation holds its locks: see src/quota/postgres/first-counts.ts. */
const UNOPENED = `
create function quota_unopened(p_requests jsonb) returns uuid[] language sql stable ${INDEXES_ONLY}
return array(
  select (r ->> 'id')::uuid from jsonb_array_elements(p_requests) r
   where exists (
     select from jsonb_array_elements(r -> 'checks') c
      where c ->> 0 = 'c' and c ->> 1 in ('day', 'month')
        and not exists (
          select from quota_counter q where q.tenant_id = (r ->> 'tenant_id')::uuid and q.counter = c ->> 1)));
comment on function quota_unopened is
  'Holds that would count in a request quota of their tenant that has not counted yet. None does before its row stands, so '
  'what the row was opened with counts none of them twice.';
`;

const STATE = `
create function quota_counters_now(p_tenants uuid[], p_slot_of jsonb)
returns table (slot int, start_ms bigint, end_ms bigint, used bigint)
language sql stable ${INDEXES_ONLY} as $$
  with counted as (
    select k.value::int as slot, c.window_start_ms as start_ms, c.window_end_ms as end_ms, c.used
      from jsonb_each_text(p_slot_of) k
      join quota_counter c on c.tenant_id = left(k.key, 36)::uuid and c.counter = substr(k.key, 38)
    union all
    select (p_slot_of ->> (o.tenant_id || ' ' || (s ->> 0)))::int, (s ->> 2)::bigint, (s ->> 3)::bigint,
           case s ->> 1 when 'r' then 1 else o.hold_nano_usd end
      from quota_open_rows(p_tenants) o cross join lateral jsonb_array_elements(o.scopes) s
     where p_slot_of ? (o.tenant_id || ' ' || (s ->> 0)))
  select distinct on (c.slot) c.slot, c.start_ms, max(c.end_ms), sum(c.used)::bigint
    from counted c group by c.slot, c.start_ms order by c.slot, c.start_ms desc
$$;
comment on function quota_counters_now is
  'The newest window of each counter named in p_slot_of ("tenant counter": slot) with its use: what committed charges '
  'have, from quota_counter, and what open ones hold, from their rows.';
`;

/** Word for word the rules of quota_deduct.lua: calendar, from_first_use. */
const WINDOW = `
create function quota_window(p_check jsonb, p_now bigint, p_start bigint, p_end bigint, p_used bigint)
returns bigint[] language plpgsql immutable as $$
declare
  v_a bigint := nullif(p_check ->> 4, '')::bigint;
  v_b bigint := nullif(p_check ->> 5, '')::bigint;
  v_c bigint := nullif(p_check ->> 6, '')::bigint;
begin
  case p_check ->> 0
    when 'l', 'r' then return array[0, 0];
    when 'f' then
      -- A window in which everything was given back has not begun. None begins before the newest one.
      return case when p_now < p_end and (p_used > 0 or p_now < p_start) then array[p_start, p_end]
                  else array[p_now, p_now + v_a] end;
    else
      if p_now < v_a or p_now >= v_c then return null; end if;
      if p_now >= v_b then v_a := v_b; v_b := v_c; end if;
      -- A calendar window never goes back: where the clock was set back, or the zone changed, the newest one goes on.
      return case when p_start > v_a then array[p_start, p_end] else array[v_a, v_b] end;
  end case;
end $$;
comment on function quota_window is
  'Start and end of the window a use would count in now, given the newest one; null where the clock is in neither of the '
  'windows that the caller sent.';
`;

/** One hold against the state so far; the caller writes down what it answers. */
const DECIDE = `
create type quota_use as (slot int, start_ms bigint, end_ms bigint, used bigint);
create type quota_decision as (
  status text, funding text, counted jsonb, uses quota_use[], place int, check_limit bigint, used bigint, resets_ms bigint
);

create function quota_decide(
  p_request jsonb, p_now bigint, p_available bigint, p_open bigint, p_slot_of jsonb, p_state quota_use[]
) returns quota_decision language plpgsql immutable as $$
declare
  v quota_decision;
  v_check jsonb;
  v_hold bigint := (p_request ->> 'hold_nano_usd')::bigint;
  v_need bigint;
  v_limit bigint;
  v_before bigint;
  v_s quota_use;
  v_window bigint[];
  v_place int := 0;
begin
  v.status := 'ADMITTED';
  v.funding := p_request ->> 'funding';
  v.counted := '[]';
  v.uses := '{}';
  for v_check in select c from jsonb_array_elements(p_request -> 'checks') c loop
    v_place := v_place + 1;
    v_need := case v_check ->> 2 when 'r' then 1 when 't' then (p_request ->> 'tokens')::bigint else v_hold end;
    v_limit := (v_check ->> 3)::bigint;
    -- Of a rolling scope the state has what this statement has counted: what was counted before it is the process' own.
    v_before := case v_check ->> 0 when 'r' then (v_check ->> 4)::bigint else 0 end;
    if v_check ->> 0 = 'o' then
      if p_open + 1 > v_limit and v.place is null then
        v.place := v_place; v.check_limit := v_limit; v.used := p_open;
      end if;
      continue;
    end if;
    v_s := p_state[(p_slot_of ->> ((p_request ->> 'tenant_id') || ' ' || (v_check ->> 1)))::int];
    v_window := quota_window(v_check, p_now, v_s.start_ms, v_s.end_ms, v_s.used);
    if v_window is null then
      v.status := 'CLOCK';
      return v;
    end if;
    v_s := (v_s.slot, v_window[1], v_window[2], case when v_window[1] = v_s.start_ms then v_s.used else 0 end);
    if v_before + v_s.used + v_need > v_limit then
      if v_check ->> 0 <> 'a' and v.place is null then
        v.place := v_place; v.check_limit := v_limit; v.used := v_before + v_s.used;
        -- No window that ends makes room for what no window has room for.
        v.resets_ms := case when v_need <= v_limit then nullif(v_s.end_ms, 0) end;
      end if;
      continue;
    end if;
    if v_check ->> 0 = 'a' then v.funding := 'allowance'; end if;
    v_s.used := v_s.used + v_need;
    v.uses := v.uses || v_s;
    continue when v_check ->> 0 = 'r';
    v.counted := v.counted
      || jsonb_build_array(jsonb_build_array(v_check ->> 1, v_check ->> 2, v_s.start_ms, v_s.end_ms, v_s.used));
  end loop;
  -- A hold of nothing needs no cover, also where the tenant is in debt.
  if v.funding = 'wallet' and v_hold > 0 and v_hold > p_available then
    v.place := 0; v.check_limit := v_hold; v.used := p_available; v.resets_ms := null;
  end if;
  if v.place is not null then v.status := 'REFUSED'; end if;
  return v;
end $$;
`;
