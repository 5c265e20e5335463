import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What routing goes by beside priority and weight: how much an upstream takes at once, where it is, other names of a
 * model, and which models stand in for one that nobody can serve.
 */
export class Routing1764000100000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UPSTREAM);
    await runner.query(MODEL_NAMES);
    await runner.query(CHANGE_FEED);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop table model_fallback, model_alias;
      alter table upstream drop column max_concurrency, drop column region`);
  }
}

const UPSTREAM = `
alter table upstream
  add column max_concurrency integer constraint upstream_max_concurrency_check check (max_concurrency > 0),
  add column region text constraint upstream_region_check check (region ~ '^[a-z0-9][a-z0-9._-]{0,63}$');
comment on column upstream.max_concurrency is 'Calls under way in one gateway process; null is no limit.';
comment on column upstream.region is 'Where it runs, a tag such as eu: a call may ask for one.';
`;

/** Between 1 and 200 characters without a blank at either end, as every name that people give. */
const A_NAME = (column: string): string => `length(${column}) between 1 and 200 and ${column} !~ '^\\s|\\s$'`;

const MODEL_NAMES = `
create table model_alias (
  alias      text primary key constraint model_alias_alias_check check (${A_NAME('alias')}),
  model      text not null constraint model_alias_model_check check (${A_NAME('model')}),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint model_alias_names_another check (alias <> model)
);
create index model_alias_by_model on model_alias (model);
comment on table model_alias is
  'Another name of a model: what is asked for by alias is routed, priced and recorded as the model. Never of another alias.';

create table model_fallback (
  model          text not null constraint model_fallback_model_check check (${A_NAME('model')}),
  position       smallint not null constraint model_fallback_position_check check (position between 0 and 9),
  fallback_model text not null constraint model_fallback_fallback_model_check check (${A_NAME('fallback_model')}),
  created_at     timestamptz not null default now(),
  primary key (model, position),
  unique (model, fallback_model),
  constraint model_fallback_names_another check (model <> fallback_model)
);
comment on table model_fallback is
  'Models that answer in place of one whose upstreams all failed before the first byte, in the order of position.';
`;

const CHANGE_FEED = `
create trigger model_alias_changed after insert or update or delete on model_alias
  for each row execute function notify_change('alias');
create trigger model_fallback_changed after insert or update or delete on model_fallback
  for each row execute function notify_change('model');
`;
