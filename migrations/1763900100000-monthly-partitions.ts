import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What grows without end lies in a partition a month (UTC), so that an old month is taken out whole: transfers by when they
 * were booked, the request log and its attempts by their UUIDv7. `create_month_partitions` makes months; what has none goes
 * to DEFAULT, so that no write ever fails for want of one. What must be unique for ever, trace ids above all, stays in
 * billing_transaction, which is whole.
 *
 * The rows that are there are moved in this transaction: it takes about a minute for ten million transfers, and the room
 * for a second copy of them until it ends.
 */
export class MonthlyPartitions1763900100000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(OPENING_BALANCES);
    await runner.query(SET_ASIDE);
    await runner.query(TRANSFERS);
    await runner.query(REQUEST_LOG);
    await runner.query(ATTEMPTS);
    await runner.query(CREATE_ONE);
    await runner.query(CREATE_MONTHS);
    await runner.query(MOVE_ROWS);
    await runner.query(INDEXES);
    await runner.query(RIGHTS);
  }

  down(): Promise<void> {
    return Promise.reject(new Error('Months may have been taken out since: it is never taken back.'));
  }
}

const OPENING_BALANCES = `
create table ledger_opening_balance (
  month           date not null check (extract(day from month) = 1),
  account_id      uuid not null,
  posted_nano_usd numeric not null,
  version         bigint not null check (version >= 0),
  created_at      timestamptz not null default now(),
  primary key (month, account_id)
);
comment on table ledger_opening_balance is
  'What the transfers up to the end of a month came to, written in the transaction that takes the month out of '
  'ledger_transfer; one row for every account that had any until then, the house''s, too. The newest month counts: an '
  'account has posted its opening balance and the sum of its transfers.';
comment on column ledger_opening_balance.version is 'How many changes of the account were taken out; 0 on the house side.';
create trigger ledger_opening_balance_is_append_only before update or delete or truncate on ledger_opening_balance
  for each statement execute function refuse_change_of_append_only();

create function ledger_begins_at() returns timestamptz language sql stable
return coalesce((select (max(month) + interval '1 month') at time zone 'UTC' from ledger_opening_balance), '-infinity');
comment on function ledger_begins_at is
  'Whatever ended at or after this has its transfers in ledger_transfer; those of before were taken out with their months.';
`;

/** Names are taken until the old tables are dropped; a new id must not be one that was given already. */
const SET_ASIDE = `
lock table ledger_transfer, request_log in access exclusive mode;
alter table ledger_transfer rename to ledger_transfer_whole;
alter table ledger_transfer_whole rename constraint ledger_transfer_pkey to ledger_transfer_whole_pkey;
drop index ledger_transfer_by_transaction, ledger_transfer_debit_version, ledger_transfer_credit_version,
           ledger_transfer_house_debit, ledger_transfer_house_credit;
alter sequence ledger_transfer_id_seq rename to ledger_transfer_whole_id_seq;
create sequence ledger_transfer_id_seq as bigint;
select setval('ledger_transfer_id_seq', last_value, is_called) from ledger_transfer_whole_id_seq;

alter table request_log rename to request_log_whole;
alter table request_log_whole rename constraint request_log_pkey to request_log_whole_pkey;
drop index request_log_by_tenant, request_log_by_api_key;
`;

/**
 * created_at is read while the accounts are locked: an account's transfers lie in the order of its versions, so that a
 * month ends at one version of it.
 */
const TRANSFERS = `
create table ledger_transfer (
  id                bigint not null default nextval('ledger_transfer_id_seq'),
  kind              text not null constraint ledger_transfer_kind_check check (kind in
                      ('charge', 'recharge', 'adjustment', 'overrun_repayment', 'refund', 'correction', 'credit_note',
                       'upstream_cost')),
  transaction_id    uuid not null,
  debit_account_id  uuid not null,
  credit_account_id uuid not null,
  amount_nano_usd   bigint not null constraint ledger_transfer_amount_nano_usd_check check (amount_nano_usd > 0),
  debit_version     bigint constraint ledger_transfer_debit_version_check check (debit_version > 0),
  credit_version    bigint constraint ledger_transfer_credit_version_check check (credit_version > 0),
  reason_code       text,
  created_at        timestamptz not null default clock_timestamp(),
  constraint ledger_transfer_check check (debit_account_id <> credit_account_id)
) partition by range (created_at);
alter sequence ledger_transfer_id_seq owned by ledger_transfer.id;
create table ledger_transfer_default partition of ledger_transfer default;
comment on table ledger_transfer is
  'Append-only double entry: one row debits and credits the same amount, so every row sums to zero. The version columns '
  'number the changes of a tenant''s account without gaps (null on the house side), unique in each month. No foreign keys: '
  'accounts are never deleted, and a key check would lock the house''s rows in every charge. Months whose opening balances '
  'stand may have been taken out (ledger_begins_at).';
create trigger ledger_transfer_is_append_only before update or delete or truncate on ledger_transfer
  for each statement execute function refuse_change_of_append_only();
`;

const REQUEST_LOG = `
create table request_log (
  id                uuid not null,
  tenant_id         uuid not null,
  api_key_id        uuid,
  client_request_id text,
  channel           text not null,
  route             text not null,
  model             text,
  is_stream         boolean not null,
  status            integer not null,
  error_code        text,
  end_reason        text,
  attempts          jsonb not null default '[]',
  duration_ms       integer not null,
  ttft_ms           integer,
  created_at        timestamptz not null default now(),
  usage             jsonb
) partition by range (id);
create table request_log_default partition of request_log default;
comment on table request_log is 'Operational record; id is the trace id. Losing a row costs no money.';
comment on column request_log.usage is
  'Of a call that RUN_MODE=simple did not charge: tokens by bucket, how they were counted, the price version and what '
  'the call would have cost. Null where a charge says it.';
`;

const ATTEMPTS = `
create table request_attempt (
  request_id             uuid not null,
  attempt                smallint not null,
  tenant_id              uuid not null,
  model                  text,
  upstream_id            uuid,
  upstream_name          text,
  provider_name          text,
  status                 integer,
  outcome                text not null,
  is_served              boolean not null,
  ttft_ms                integer,
  duration_ms            integer not null,
  tokens                 jsonb,
  upstream_cost_nano_usd bigint not null default 0,
  paid_by                text not null constraint request_attempt_paid_by_check
                           check (paid_by in ('tenant', 'house', 'nobody')),
  created_at             timestamptz not null default now()
) partition by range (request_id);
create table request_attempt_default partition of request_attempt default;
comment on table request_attempt is
  'One row for each upstream that a request was sent to. Operational: losing a row costs no money. Names are copied in; '
  'upstream_id is null once the upstream is deleted.';
comment on column request_attempt.status is 'Of the upstream''s answer; null where none came.';
comment on column request_attempt.tokens is 'By bucket, only those that are not empty.';
`;

/**
 * Made beside its parent and attached: that takes no lock which a writer or reader of other months waits for. Two things do,
 * each given up after lock_timeout: DEFAULT is closed while it is searched for rows of the month; and a month that writers
 * may be writing now keeps them out of the parent, because one that chose DEFAULT already would fail.
 */
const CREATE_ONE = `
create function uuid_floor(p_at timestamptz) returns uuid language sql immutable strict
return (lpad(to_hex(floor(extract(epoch from p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
comment on function uuid_floor is 'Every UUIDv7 made at or after this moment is greater.';

create function create_month_partition(p_table text, p_key text, p_month timestamp) returns text
language plpgsql set search_path = public, pg_temp as $$
declare
  v_name constant text := p_table || to_char(p_month, '_YYYY_MM');
  v_default constant text := p_table || '_default';
  v_begin constant timestamptz := p_month at time zone 'UTC';
  v_end constant timestamptz := (p_month + interval '1 month') at time zone 'UTC';
  v_is_ledger constant boolean := p_table = 'ledger_transfer';
  v_from constant text := case when v_is_ledger then v_begin::text else uuid_floor(v_begin)::text end;
  v_to constant text := case when v_is_ledger then v_end::text else uuid_floor(v_end)::text end;
  v_strays boolean;
begin
  if to_regclass(format('public.%I', v_name)) is not null then return null; end if;
  if v_begin <= clock_timestamp() + interval '1 day' then
    execute format('lock table %I in share row exclusive mode', p_table);
  end if;
  execute format('lock table %I in access exclusive mode', v_default);
  execute format('create table %I (like %I including all)', v_name, p_table);
  if v_is_ledger then
    execute format('create unique index %I on %I (debit_account_id, debit_version) where debit_version is not null',
      v_name || '_debit_version', v_name);
    execute format('create unique index %I on %I (credit_account_id, credit_version) where credit_version is not null',
      v_name || '_credit_version', v_name);
  end if;
  execute format('select exists (select from %I where %I >= %L and %I < %L)', v_default, p_key, v_from, p_key, v_to)
    into v_strays;
  if v_strays then
    if v_is_ledger then execute format('alter table %I disable trigger %I', v_default, p_table || '_is_append_only'); end if;
    execute format('with moved as (delete from %I where %I >= %L and %I < %L returning *) insert into %I select * from moved',
      v_default, p_key, v_from, p_key, v_to, v_name);
    if v_is_ledger then execute format('alter table %I enable trigger %I', v_default, p_table || '_is_append_only'); end if;
  end if;
  if v_is_ledger then
    execute format('create trigger %I before update or delete or truncate on %I for each statement '
      'execute function refuse_change_of_append_only()', p_table || '_is_append_only', v_name);
  end if;
  execute format('alter table %I attach partition %I for values from (%L) to (%L)', p_table, v_name, v_from, v_to);
  if exists (select from pg_roles where rolname = 'tollgate_app') then
    execute format('revoke all on %I from tollgate_app', v_name);
  end if;
  return v_name;
end $$;
comment on function create_month_partition is
  'Makes one month of one table with its indexes, trigger and rights, and takes over what DEFAULT has of it; null where it '
  'is there. Whoever may use the parent may use it through the parent, nobody but the owner directly.';
`;

const CREATE_MONTHS = `
create function month_partitions_lock() returns bigint language sql immutable return 7203514650193409::bigint;
comment on function month_partitions_lock is 'Advisory lock of whoever adds or takes out a month.';

create function create_month_partitions(p_from timestamptz, p_months integer) returns setof text
language plpgsql security definer set search_path = public, pg_temp set lock_timeout = '2s' as $$
declare
  v_month timestamp;
  v_table text[];
  v_name text;
begin
  if p_months is null or p_months not between 0 and 1200 then
    raise exception 'between 0 and 1200 months, not %', p_months using errcode = 'invalid_parameter_value';
  end if;
  -- One at a time; after that nobody's charge or list waits for us for long.
  perform pg_advisory_xact_lock(month_partitions_lock());
  perform set_config('lock_timeout', '200ms', true);
  for n in 0 .. p_months - 1 loop
    v_month := date_trunc('month', p_from at time zone 'UTC') + make_interval(months => n);
    continue when v_month at time zone 'UTC' < ledger_begins_at();
    foreach v_table slice 1 in array
      array[['ledger_transfer', 'created_at'], ['request_log', 'id'], ['request_attempt', 'request_id']] loop
      v_name := create_month_partition(v_table[1], v_table[2], v_month);
      if v_name is not null then return next v_name; end if;
    end loop;
  end loop;
end $$;
comment on function create_month_partitions is
  'Makes the partitions of so many months (UTC), the first the one of p_from, where they are not there, and answers those it '
  'made. A month whose opening balances stand is not made anew. The gateway''s own role may call it. Fails with '
  'lock_not_available, and changes nothing, where a lock is not free at once: try again.';
`;

/** Indexes come after the rows: sorting them once is cheaper than placing each row. */
const MOVE_ROWS = `
create trigger ledger_transfer_is_append_only before update or delete or truncate on ledger_transfer_default
  for each statement execute function refuse_change_of_append_only();
select create_month_partitions(oldest at time zone 'UTC', (extract(year from newest) - extract(year from oldest))::integer
    * 12 + (extract(month from newest) - extract(month from oldest))::integer + 1)
  from (
    select (now() at time zone 'UTC') + interval '2 months' as newest,
           least(now(), (select min(created_at) from ledger_transfer_whole),
             (select min(created_at) from request_log_whole)) at time zone 'UTC' as oldest) span;
insert into ledger_transfer select * from ledger_transfer_whole;
insert into request_log select * from request_log_whole;
drop table ledger_transfer_whole, request_log_whole;
`;

const INDEXES = `
alter table ledger_transfer add constraint ledger_transfer_pkey primary key (id, created_at);
create index ledger_transfer_by_transaction on ledger_transfer (transaction_id);
create index ledger_transfer_house_debit on ledger_transfer (debit_account_id, id) where debit_version is null;
create index ledger_transfer_house_credit on ledger_transfer (credit_account_id, id)
  where credit_version is null and credit_account_id <> '00000000-0000-7000-8000-000000000001';
create unique index ledger_transfer_default_debit_version on ledger_transfer_default (debit_account_id, debit_version)
  where debit_version is not null;
create unique index ledger_transfer_default_credit_version on ledger_transfer_default (credit_account_id, credit_version)
  where credit_version is not null;

alter table request_log add constraint request_log_pkey primary key (id);
create index request_log_by_tenant on request_log (tenant_id, id);
create index request_log_by_api_key on request_log (api_key_id, id) where api_key_id is not null;
alter table request_log add constraint request_log_api_key_id_fkey
  foreign key (api_key_id) references api_key (id) on delete set null;

alter table request_attempt add constraint request_attempt_pkey primary key (request_id, attempt);
create index request_attempt_by_upstream on request_attempt (upstream_id, request_id);
alter table request_attempt add constraint request_attempt_upstream_id_fkey
  foreign key (upstream_id) references upstream (id) on delete set null;
`;

/** Default privileges give the role more on new tables than these may have. */
const RIGHTS = `
revoke all on function create_month_partitions(timestamptz, integer) from public;
revoke all on function create_month_partition(text, text, timestamp) from public;
do $$
begin
  if exists (select from pg_roles where rolname = 'tollgate_app') then
    grant execute on function create_month_partitions(timestamptz, integer) to tollgate_app;
    grant usage, select on sequence ledger_transfer_id_seq to tollgate_app;
    revoke all on ledger_transfer, ledger_transfer_default, request_log_default, request_attempt_default,
                  ledger_opening_balance from tollgate_app;
    grant select, insert on ledger_transfer to tollgate_app;
    grant select on ledger_transfer_default, request_log_default, request_attempt_default, ledger_opening_balance
      to tollgate_app;
    grant select, insert, update, delete on request_log, request_attempt to tollgate_app;
  end if;
end $$;
`;
