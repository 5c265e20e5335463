import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Lays the truth: tenants and keys, providers and prices, the double-entry ledger, the business record of each charge
 * and the authority over quota (epoch, processes). The functions that write money follow in the next migration.
 */
export class FirstLedger1763700000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(CONTROL_PLANE);
    await runner.query(CATALOGUE);
    await runner.query(LEDGER);
    await runner.query(OPERATIONS);
    await runner.query(CHANGE_FEED);
    await runner.query(APPLICATION_ROLE);
  }

  down(): Promise<void> {
    return Promise.reject(new Error('The first migration holds customers’ balances: it is never taken back.'));
  }
}

const CONTROL_PLANE = `
create table tenant (
  id            uuid primary key,
  name          text not null check (length(name) between 1 and 200),
  status        text not null default 'active' check (status in ('active', 'suspended', 'closed')),
  timezone      text not null,
  daily_quota   bigint check (daily_quota >= 0),
  monthly_quota bigint check (monthly_quota >= 0),
  unknown_price_policy text not null default 'reject' check (unknown_price_policy in ('reject', 'free')),
  created_at    timestamptz not null default now(),
  updated_at    timestamptz not null default now()
);
comment on table tenant is 'Closed, never deleted: money rows name it for ever. Null quotas are unlimited.';

create table api_key (
  id             uuid primary key,
  tenant_id      uuid not null references tenant (id),
  name           text not null check (length(name) between 1 and 200),
  digest         bytea not null unique check (length(digest) = 32),
  hint           text not null,
  allowed_models text[],
  expires_at     timestamptz,
  revoked_at     timestamptz,
  created_at     timestamptz not null default now(),
  updated_at     timestamptz not null default now()
);
create index api_key_by_tenant on api_key (tenant_id, id);
comment on column api_key.digest is 'HMAC-SHA-256 of the key under KEY_PEPPER; the key itself is never stored.';

create table provider (
  id                uuid primary key,
  name              text not null unique check (length(name) between 1 and 200),
  kind              text not null check (kind in ('openai')),
  base_url          text not null,
  api_key_encrypted bytea not null,
  created_at        timestamptz not null default now(),
  updated_at        timestamptz not null default now()
);

create table upstream (
  id              uuid primary key,
  provider_id     uuid not null references provider (id) on delete cascade,
  name            text not null check (length(name) between 1 and 200),
  model           text not null check (length(model) between 1 and 200),
  upstream_model  text not null check (length(upstream_model) between 1 and 200),
  priority        integer not null default 0,
  weight          integer not null default 100 check (weight between 0 and 1000000),
  timeout_ms      integer check (timeout_ms > 0),
  enabled         boolean not null default true,
  cost_input_nano_usd_per_mtok  bigint not null default 0 check (cost_input_nano_usd_per_mtok >= 0),
  cost_output_nano_usd_per_mtok bigint not null default 0 check (cost_output_nano_usd_per_mtok >= 0),
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now()
);
create index upstream_by_provider on upstream (provider_id);

create table audit_log (
  id        bigint generated always as identity primary key,
  actor     text not null,
  action    text not null,
  entity    text not null,
  entity_id text not null,
  before    jsonb,
  after     jsonb,
  at        timestamptz not null default now()
);
`;

const CATALOGUE = `
create table model_profile (
  model                         text primary key,
  is_reasoning                  boolean not null default false,
  default_output_reserve_tokens integer not null default 1024 check (default_output_reserve_tokens > 0),
  max_output_tokens             integer check (max_output_tokens > 0),
  tokens_per_image              integer not null default 1500 check (tokens_per_image >= 0)
);

create table price (
  id                     bigint generated always as identity primary key,
  model                  text not null check (length(model) between 1 and 200),
  effective_from         timestamptz not null default now(),
  input_uncached_nano_usd_per_mtok bigint not null check (input_uncached_nano_usd_per_mtok >= 0),
  input_cached_nano_usd_per_mtok   bigint not null check (input_cached_nano_usd_per_mtok >= 0),
  cache_write_nano_usd_per_mtok    bigint not null check (cache_write_nano_usd_per_mtok >= 0),
  output_nano_usd_per_mtok         bigint not null check (output_nano_usd_per_mtok >= 0),
  reasoning_nano_usd_per_mtok      bigint not null check (reasoning_nano_usd_per_mtok >= 0),
  audio_nano_usd_per_mtok          bigint not null check (audio_nano_usd_per_mtok >= 0),
  image_nano_usd_per_mtok          bigint not null check (image_nano_usd_per_mtok >= 0),
  per_request_nano_usd             bigint not null default 0 check (per_request_nano_usd >= 0),
  created_at             timestamptz not null default now()
);
create index price_by_model on price (model, effective_from desc, id desc);
comment on table price is 'Versioned: rows are added, never changed; the id is the price version a receipt names.';
`;

const LEDGER = `
create table ledger_account (
  id                    uuid primary key,
  tenant_id             uuid references tenant (id),
  name                  text not null,
  posted_nano_usd       bigint,
  credit_limit_nano_usd bigint not null default 0 check (credit_limit_nano_usd >= 0),
  version               bigint not null default 0 check (version >= 0),
  created_at            timestamptz not null default now(),
  unique nulls not distinct (tenant_id, name),
  check ((tenant_id is null) = (posted_nano_usd is null)),
  check (name = 'overrun' or (posted_nano_usd >= -9000000000000000 and credit_limit_nano_usd <= 9000000000000000
    and posted_nano_usd + credit_limit_nano_usd <= 9000000000000000))
) with (fillfactor = 50);
comment on table ledger_account is
  'posted = credits − debits. A tenant''s accounts keep it, with a gapless version, in the transaction of the transfer; '
  'house accounts (tenant_id null) keep none: theirs is the sum of their transfers, so that no row is hot. '
  'The bound of 9,000,000 USD is the doubles'' 2^53 in Redis Lua, which adds posted and credit limit: each of them, and '
  'their sum, is exact there, and no more than that sum is ever held. A wallet pays down to -(credit limit) and no charge '
  'takes it lower, so no charge can be refused by this. overrun is not in Redis: whatever an answer cost must be booked.';

create table ledger_transfer (
  id                bigint generated always as identity primary key,
  kind              text not null check (kind in
                      ('charge', 'recharge', 'adjustment', 'overrun_repayment', 'refund', 'correction', 'upstream_cost')),
  transaction_id    uuid not null,
  debit_account_id  uuid not null,
  credit_account_id uuid not null,
  amount_nano_usd   bigint not null check (amount_nano_usd > 0),
  debit_version     bigint check (debit_version > 0),
  credit_version    bigint check (credit_version > 0),
  reason_code       text,
  created_at        timestamptz not null default now(),
  check (debit_account_id <> credit_account_id)
);
create unique index ledger_transfer_debit_version on ledger_transfer (debit_account_id, debit_version)
  where debit_version is not null;
create unique index ledger_transfer_credit_version on ledger_transfer (credit_account_id, credit_version)
  where credit_version is not null;
create index ledger_transfer_by_transaction on ledger_transfer (transaction_id);
comment on table ledger_transfer is
  'Append-only double entry: one row debits and credits the same amount, so every row sums to zero. The version columns '
  'number the changes of a tenant''s account without gaps (null on the house side). No foreign keys: accounts are never '
  'deleted, and a key check would lock the house''s rows in every charge.';

create table billing_transaction (
  id                      uuid primary key,
  tenant_id               uuid not null,
  trace_id                uuid not null,
  type                    text not null check (type in ('charge', 'recharge', 'adjustment', 'refund', 'correction')),
  status                  text not null check (status in ('PENDING', 'COMMITTED', 'VOIDED')),
  channel                 text not null check (channel in ('external', 'internal', 'admin')),
  is_stream               boolean not null default false,
  epoch                   bigint not null default 0,
  process_id              uuid,
  hold_nano_usd           bigint not null default 0 check (hold_nano_usd >= 0),
  amount_nano_usd         bigint not null default 0,
  refunded_nano_usd       bigint not null default 0 check (refunded_nano_usd between 0 and greatest(amount_nano_usd, 0)),
  credit_limit_nano_usd   bigint not null default 0,
  balance_before_nano_usd bigint,
  balance_after_nano_usd  bigint,
  funding                 text not null default 'wallet' check (funding in ('wallet')),
  day_window_start        timestamptz,
  month_window_start      timestamptz,
  api_key_id              uuid,
  api_key_name            text,
  model                   text,
  upstream_id             uuid,
  upstream_name           text,
  provider_name           text,
  price_version           bigint,
  prices                  jsonb,
  tokens_input_uncached   bigint not null default 0 check (tokens_input_uncached >= 0),
  tokens_input_cached     bigint not null default 0 check (tokens_input_cached >= 0),
  tokens_cache_write      bigint not null default 0 check (tokens_cache_write >= 0),
  tokens_output           bigint not null default 0 check (tokens_output >= 0),
  tokens_reasoning        bigint not null default 0 check (tokens_reasoning >= 0),
  tokens_audio            bigint not null default 0 check (tokens_audio >= 0),
  tokens_image            bigint not null default 0 check (tokens_image >= 0),
  counting_method         text check (counting_method in ('usage', 'tokenizer', 'estimated')),
  end_reason              text,
  reason_code             text,
  description             text,
  reversed_by             uuid,
  created_at              timestamptz not null default now(),
  ended_at                timestamptz,
  unique (tenant_id, trace_id),
  check ((status = 'PENDING') = (ended_at is null)),
  check (type <> 'charge' or amount_nano_usd >= 0)
) with (fillfactor = 70);
comment on table billing_transaction is
  'One row a charge. id is the hold''s id; id and trace_id are UUIDv7, so a time range is an id range. A settle changes '
  'no indexed column. No foreign keys: keys and upstreams may vanish, their names are copied in.';

create table request_billing_snapshot (
  transaction_id uuid primary key,
  tenant_id      uuid not null,
  arithmetic     jsonb not null,
  created_at     timestamptz not null default now()
);
comment on table request_billing_snapshot is 'Immutable: everything needed to compute the amount again.';

create function refuse_change_of_append_only() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only: correct it with a new, linked row', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger ledger_transfer_is_append_only before update or delete or truncate on ledger_transfer
  for each statement execute function refuse_change_of_append_only();
create trigger request_billing_snapshot_is_append_only before update or delete or truncate on request_billing_snapshot
  for each statement execute function refuse_change_of_append_only();
`;

const OPERATIONS = `
create table request_log (
  id                uuid primary key,
  tenant_id         uuid not null,
  api_key_id        uuid references api_key (id) on delete set null,
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
  created_at        timestamptz not null default now()
);
create index request_log_by_tenant on request_log (tenant_id, id);
comment on table request_log is 'Operational record; id is the trace id. Losing a row costs no money.';

create table gateway_process (
  id             uuid primary key,
  host           text not null,
  pid            integer not null,
  status         text not null default 'alive' check (status in ('alive', 'ended', 'dead', 'swept')),
  beat           bigint not null default 0,
  oldest_open_id uuid not null,
  started_at     timestamptz not null default now(),
  beat_at        timestamptz not null default now()
);
comment on column gateway_process.oldest_open_id is
  'Every open charge of this process has an id ≥ this, as of its last beat: where the sweeper starts to look.';

create table quota_authority (
  only_row   boolean primary key default true check (only_row),
  epoch      bigint not null check (epoch > 0),
  run_id     text,
  address    text,
  changed_at timestamptz not null default now()
);
comment on table quota_authority is
  'Which projection of the ledger is current: the epoch, and the one Redis server that has it (null before the first). '
  'run_id changes only together with epoch. address is how it was reached, for whoever looks for it.';
insert into quota_authority (epoch) values (1);

create table quota_follower (
  process_id uuid primary key,
  run_id     text not null,
  beat       bigint not null default 0
);
comment on table quota_follower is
  'Which Redis server each living process leads to: while one leads to the current server, nobody takes the authority back '
  'to a server that was demoted.';
`;

const CHANGE_FEED = `
create function notify_change() returns trigger language plpgsql as $$
begin
  perform pg_notify('tollgate_changes', tg_table_name || ':' || (coalesce(to_jsonb(new), to_jsonb(old)) ->> tg_argv[0]));
  return null;
end $$;
create trigger tenant_changed after insert or update or delete on tenant
  for each row execute function notify_change('id');
create trigger api_key_changed after insert or update or delete on api_key
  for each row execute function notify_change('id');
create trigger provider_changed after insert or update or delete on provider
  for each row execute function notify_change('id');
create trigger upstream_changed after insert or update or delete on upstream
  for each row execute function notify_change('id');
create trigger price_changed after insert or update or delete on price
  for each row execute function notify_change('model');
create trigger model_profile_changed after insert or update or delete on model_profile
  for each row execute function notify_change('model');
create trigger credit_limit_changed after update of credit_limit_nano_usd on ledger_account
  for each row execute function notify_change('tenant_id');
create trigger quota_authority_changed after update on quota_authority
  for each row execute function notify_change('epoch');
`;

const APPLICATION_ROLE = `
do $$
begin
  perform pg_advisory_xact_lock(hashtext('tollgate_app role'));
  if not exists (select from pg_roles where rolname = 'tollgate_app') then
    create role tollgate_app nologin;
  end if;
exception when insufficient_privilege then
  raise notice 'no right to create the role tollgate_app; the triggers alone guard the ledger';
end $$;
do $$
begin
  if exists (select from pg_roles where rolname = 'tollgate_app') then
    execute format('grant tollgate_app to %I', current_user);
    grant usage on schema public to tollgate_app;
    grant select, insert, update, delete on all tables in schema public to tollgate_app;
    revoke update, delete, truncate on ledger_transfer, request_billing_snapshot from tollgate_app;
    revoke delete, truncate on billing_transaction, ledger_account, tenant, price from tollgate_app;
    alter default privileges in schema public grant select, insert, update, delete on tables to tollgate_app;
    alter default privileges in schema public grant usage, select on sequences to tollgate_app;
    grant usage, select on all sequences in schema public to tollgate_app;
  end if;
end $$;
`;
