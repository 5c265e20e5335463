import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Prices by context length, a multiplier for the keys of a group, and what a provider charges for cached input: what a
 * long prompt costs is not what a short one costs, and a charge must be computable from its row alone.
 */
export class PriceTiers1763900000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(FUNCTIONS);
    await runner.query(COLUMNS);
    await runner.query(POST);
    await runner.query(APPLICATION_ROLE);
  }

  down(): Promise<void> {
    return Promise.reject(new Error('Charges were made by tiers and multipliers: they are never taken back.'));
  }
}

const INDEXES_ONLY =
  'set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan';

const BUCKETS = ['input_uncached', 'input_cached', 'cache_write', 'output', 'reasoning', 'audio', 'image'];
const BUCKET_ARRAY = `array[${BUCKETS.map((bucket) => `'${bucket}'`).join(', ')}]`;

/** Nothing in a check may throw: which of its conditions Postgres looks at first is its own affair, hence the case. */
const FUNCTIONS = `
create function are_price_tiers(p_tiers jsonb) returns boolean
language sql immutable parallel safe as $$
  select case
    when jsonb_typeof(p_tiers) is distinct from 'array' then false
    when jsonb_array_length(p_tiers) > 16 then false
    else not exists (
      select from (
        select t, lag(case when jsonb_typeof(t -> 'above_input_tokens') = 'number'
                           then (t ->> 'above_input_tokens')::numeric end) over (order by at) as before
          from jsonb_array_elements(p_tiers) with ordinality as e (t, at)) s
       where case
         when jsonb_typeof(t) is distinct from 'object' then true
         when (select count(*) from jsonb_object_keys(t)) <> ${BUCKETS.length + 1} then true
         when jsonb_typeof(t -> 'above_input_tokens') is distinct from 'number' then true
         when not (t ?& ${BUCKET_ARRAY}) then true
         when exists (select from unnest(${BUCKET_ARRAY}) bucket
                       where jsonb_typeof(t -> bucket) <> 'string' or t ->> bucket !~ '^[0-9]{1,15}$') then true
         else (t ->> 'above_input_tokens')::numeric not between 1 and 1000000000
           or (t ->> 'above_input_tokens')::numeric % 1 <> 0
           or (t ->> 'above_input_tokens')::numeric <= coalesce(before, 0)
       end)
  end
$$;
comment on function are_price_tiers is
  'Whether these are tiers of a price: at most 16, thresholds ascending, each with a price for every bucket as text.';

create function prices_in_force(p_prices jsonb, p_input_tokens numeric) returns jsonb
language sql immutable parallel safe as $$
  select coalesce(
    (select t from jsonb_array_elements(p_prices -> 'tiers') t
      where (t ->> 'above_input_tokens')::numeric < p_input_tokens
      order by (t ->> 'above_input_tokens')::numeric desc limit 1),
    p_prices)
$$;
comment on function prices_in_force is
  'The bucket prices of a call with that much input (uncached, cached and cache write together): those of the highest tier '
  'that it is above, for the whole call; without one, the price itself.';
`;

const COLUMNS = `
alter table price
  add column tiers jsonb not null default '[]' check (are_price_tiers(tiers)),
  add column source text not null default 'manual' check (length(source) between 1 and 200);
comment on column price.tiers is
  'Prices from above a number of input tokens on, for the whole call, ascending; nano-USD a million tokens as text.';
comment on column price.source is 'Where it came from: written by hand, or the list that was imported.';

alter table tenant_group add column price_multiplier_millionths bigint not null default 1000000
  check (price_multiplier_millionths between 1 and 100000000);
comment on column tenant_group.price_multiplier_millionths is
  'Times this costs a call by a key of the group: 1000000 is once. Frozen with the price of each call.';

alter table upstream
  add column cost_cached_input_nano_usd_per_mtok bigint check (cost_cached_input_nano_usd_per_mtok >= 0),
  add column cost_cache_write_nano_usd_per_mtok bigint check (cost_cache_write_nano_usd_per_mtok >= 0);
comment on column upstream.cost_cached_input_nano_usd_per_mtok is 'Null: as input.';
comment on column upstream.cost_cache_write_nano_usd_per_mtok is 'Null: as input.';
`;

/** As it was, and the snapshot of a price with tiers says which prices the call's length put in force. */
const POST = `
create or replace function billing_post_charges(p_won uuid[]) returns void
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
    || case when b.prices ? 'tiers' then jsonb_build_object('prices_in_force', prices_in_force(b.prices,
         b.tokens_input_uncached + b.tokens_input_cached + b.tokens_cache_write) - 'tiers')
       else '{}' end
  from billing_transaction b where b.id = any (p_won) and b.status = 'COMMITTED';
$$;
`;

/** A version that a receipt names never changes: not by this application. */
const APPLICATION_ROLE = `
do $$
begin
  if exists (select from pg_roles where rolname = 'tollgate_app') then
    revoke update on price from tollgate_app;
  end if;
end $$;
`;
