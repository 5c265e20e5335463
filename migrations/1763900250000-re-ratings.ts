import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What a range of charges would cost at another price, kept as a dry run saw it, then booked line by line: credit notes are
 * issued for what somebody has looked at, however often the process that issues them dies.
 */
export class ReRatings1763900250000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(RE_RATINGS);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table re_rating_line, re_rating');
  }
}

const RE_RATINGS = `
create table re_rating (
  id                       uuid primary key,
  model                    text not null,
  from_at                  timestamptz not null,
  to_at                    timestamptz not null check (to_at > from_at),
  tenant_id                uuid,
  price_version            bigint not null,
  charges_differences      boolean not null,
  charges                  bigint not null check (charges >= 0),
  planned_by               text not null,
  planned_at               timestamptz not null default now(),
  applied_by               text,
  applying_since           timestamptz,
  check ((applied_by is null) = (applying_since is null))
);
comment on table re_rating is
  'A range of charges as they would cost at another price version: planned by a dry run, and booked as it was seen.';
comment on column re_rating.charges is 'How many charges were looked at; those whose cost differs have a line.';
comment on column re_rating.charges_differences is 'Whether charges that were too cheap are debited the difference.';

create table re_rating_line (
  re_rating_id      uuid not null references re_rating (id) on delete cascade,
  charge_id         uuid not null,
  tenant_id         uuid not null,
  old_price_version bigint,
  rated_nano_usd    bigint not null,
  re_rated_nano_usd bigint not null check (re_rated_nano_usd >= 0),
  due_nano_usd      bigint not null,
  booked_nano_usd   bigint,
  transaction_id    uuid unique,
  refusal           text,
  primary key (re_rating_id, charge_id),
  check (rated_nano_usd <> re_rated_nano_usd),
  check ((transaction_id is not null) = (coalesce(booked_nano_usd, 0) <> 0)),
  check (booked_nano_usd between least(due_nano_usd, 0) and greatest(due_nano_usd, 0))
);
create index re_rating_line_unbooked on re_rating_line (re_rating_id, tenant_id, charge_id)
  where booked_nano_usd is null and due_nano_usd <> 0;
comment on column re_rating_line.rated_nano_usd is
  'What the charge came to when it was planned: its amount, less and plus what earlier re-ratings had booked.';
comment on column re_rating_line.due_nano_usd is
  'What is to be booked: above 0 a credit note of so much, below 0 a debit. 0 where nothing is: all was given back, the '
  'charge was too cheap and differences are not charged, or it was not the tenant''s own money.';
comment on column re_rating_line.booked_nano_usd is
  'Null until its turn came. Never beyond what is due; less where less was left of the charge by then.';
comment on column re_rating_line.refusal is 'Why nothing could be booked, such as an account without room.';
`;
