import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Whom a limit can be for besides the tenant: the key, the user, the group with its overrides, the subscription that
 * pays, and calls that are free. What names two of them names their tenant too, so that the database itself keeps one
 * tenant's things from another's.
 */
export class CallerLimits1763800100000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(TENANT_RATES);
    await runner.query(USERS_AND_GROUPS);
    await runner.query(USD_LIMITS);
    await runner.query(KEY_LIMITS);
    await runner.query(FREE_ALLOWANCE);
    await runner.query(CHANGE_FEED);
    await runner.query(APPLICATION_ROLE);
  }

  down(): Promise<void> {
    return Promise.reject(new Error('Charges name subscriptions for ever: this migration is never taken back.'));
  }
}

/** Far above any real limit, far below what a double counts exactly: Redis Lua compares doubles. */
const A_COUNT = 'between 0 and 1000000000000';
/** 9,000,000 USD, the bound of every amount of a tenant. */
const AN_AMOUNT = 'between 0 and 9000000000000000';

const TENANT_RATES = `
alter table tenant
  add column rpm_limit         bigint check (rpm_limit ${A_COUNT}),
  add column tpm_limit         bigint check (tpm_limit ${A_COUNT}),
  add column concurrency_limit bigint check (concurrency_limit ${A_COUNT});
comment on table tenant is 'Closed, never deleted: money rows name it for ever. Null quotas and limits are unlimited.';
`;

const USERS_AND_GROUPS = `
create table tenant_user (
  id          uuid primary key,
  tenant_id   uuid not null references tenant (id),
  name        text not null check (length(name) between 1 and 200),
  external_id text check (length(external_id) between 1 and 200),
  status      text not null default 'active' check (status in ('active', 'suspended')),
  rpm_limit   bigint check (rpm_limit ${A_COUNT}),
  created_at  timestamptz not null default now(),
  updated_at  timestamptz not null default now(),
  unique (tenant_id, id),
  unique (tenant_id, external_id)
);
comment on column tenant_user.external_id is 'What the tenant itself calls the user.';
comment on column tenant_user.rpm_limit is 'A ceiling whatever group and override say; null is none.';

create table tenant_group (
  id         uuid primary key,
  tenant_id  uuid not null references tenant (id),
  name       text not null check (length(name) between 1 and 200),
  kind       text not null check (kind in ('standard', 'subscription')),
  rpm_limit  bigint check (rpm_limit ${A_COUNT}),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (tenant_id, id)
);
comment on column tenant_group.kind is 'A key in a subscription group pays by subscription only. Never changes.';
comment on column tenant_group.rpm_limit is 'Of each user in the group; null is none.';

create table group_rpm_override (
  tenant_id  uuid not null,
  group_id   uuid not null,
  user_id    uuid not null,
  rpm_limit  bigint not null check (rpm_limit ${A_COUNT}),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (group_id, user_id),
  foreign key (tenant_id, group_id) references tenant_group (tenant_id, id) on delete cascade,
  foreign key (tenant_id, user_id) references tenant_user (tenant_id, id) on delete cascade
);
create index group_rpm_override_by_user on group_rpm_override (user_id);
comment on column group_rpm_override.rpm_limit is 'Replaces the group''s for this user; 0: exempt.';
`;

const USD_LIMITS = `
create table user_platform_quota (
  id                     uuid not null unique,
  tenant_id              uuid not null,
  user_id                uuid not null,
  platform               text not null check (platform ~ '^[a-z][a-z0-9_-]{0,63}$'),
  daily_limit_nano_usd   bigint check (daily_limit_nano_usd ${AN_AMOUNT}),
  weekly_limit_nano_usd  bigint check (weekly_limit_nano_usd ${AN_AMOUNT}),
  monthly_limit_nano_usd bigint check (monthly_limit_nano_usd ${AN_AMOUNT}),
  created_at             timestamptz not null default now(),
  updated_at             timestamptz not null default now(),
  primary key (user_id, platform),
  foreign key (tenant_id, user_id) references tenant_user (tenant_id, id) on delete cascade
);
create index user_platform_quota_by_tenant on user_platform_quota (tenant_id, id);
comment on table user_platform_quota is
  'What a user may spend at providers of one kind where the tenant''s own money pays. Null limits are unlimited.';

create table subscription (
  id                     uuid primary key,
  tenant_id              uuid not null,
  group_id               uuid not null,
  user_id                uuid,
  status                 text not null default 'active' check (status in ('active', 'paused', 'cancelled', 'closed')),
  starts_at              timestamptz not null,
  ends_at                timestamptz check (ends_at > starts_at),
  daily_limit_nano_usd   bigint check (daily_limit_nano_usd ${AN_AMOUNT}),
  weekly_limit_nano_usd  bigint check (weekly_limit_nano_usd ${AN_AMOUNT}),
  monthly_limit_nano_usd bigint check (monthly_limit_nano_usd ${AN_AMOUNT}),
  created_at             timestamptz not null default now(),
  updated_at             timestamptz not null default now(),
  foreign key (tenant_id, group_id) references tenant_group (tenant_id, id),
  foreign key (tenant_id, user_id) references tenant_user (tenant_id, id)
);
create index subscription_by_tenant on subscription (tenant_id, id);
create index subscription_by_group on subscription (group_id, id);
create index subscription_by_user on subscription (user_id, id) where user_id is not null;
comment on table subscription is
  'Closed, never deleted: money rows name it for ever. For every key of its group, or for those of one user in it.';
`;

const KEY_LIMITS = `
alter table api_key
  add column user_id           uuid,
  add column group_id          uuid,
  add column budget_nano_usd   bigint check (budget_nano_usd ${AN_AMOUNT}),
  add column limit_5h_nano_usd bigint check (limit_5h_nano_usd ${AN_AMOUNT}),
  add column limit_1d_nano_usd bigint check (limit_1d_nano_usd ${AN_AMOUNT}),
  add column limit_7d_nano_usd bigint check (limit_7d_nano_usd ${AN_AMOUNT}),
  add foreign key (tenant_id, user_id) references tenant_user (tenant_id, id),
  add foreign key (tenant_id, group_id) references tenant_group (tenant_id, id);
create index api_key_by_user on api_key (user_id) where user_id is not null;
create index api_key_by_group on api_key (group_id) where group_id is not null;
comment on column api_key.user_id is 'A user or group that keys name is not deleted.';
`;

const FREE_ALLOWANCE = `
create table free_allowance (
  tenant_id     uuid not null references tenant (id),
  service       text not null check (service ~ '^[a-z][a-z0-9_]{0,63}$'),
  monthly_calls bigint not null check (monthly_calls ${A_COUNT}),
  created_at    timestamptz not null default now(),
  primary key (tenant_id, service)
);
comment on table free_allowance is
  'Calls a calendar month that nobody pays for. Made from FREE_ALLOWANCES when a key of the tenant is first looked up.';
`;

/** A key's limits come from many tables: each tells which tenant's keys are to be forgotten. */
const CHANGE_FEED = [
  'tenant_user',
  'tenant_group',
  'group_rpm_override',
  'user_platform_quota',
  'subscription',
  'free_allowance',
]
  .map(
    (table) => `
create trigger ${table}_changed after insert or update or delete on ${table}
  for each row execute function notify_change('tenant_id');`,
  )
  .join('');

const APPLICATION_ROLE = `
do $$
begin
  if exists (select from pg_roles where rolname = 'tollgate_app') then
    revoke delete, truncate on subscription from tollgate_app;
  end if;
end $$;
`;
