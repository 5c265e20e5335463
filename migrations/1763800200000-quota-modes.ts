import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Who decides over quota is one fact for all processes: the mode, which changes only together with the epoch. */
export class QuotaModes1763800200000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(MODE);
    await runner.query(FOLLOWERS);
  }

  down(): Promise<void> {
    return Promise.reject(new Error('Without the mode nobody knows who decides: it is never taken back.'));
  }
}

const MODE = `
alter table quota_authority add column mode text not null default 'redis' check (mode in ('redis', 'postgres'));
alter table quota_authority add check (mode = 'redis' or run_id is null);
comment on column quota_authority.mode is
  'Who reserves in this epoch: the one Redis server of run_id, or Postgres (quota_reserve), which has no server.';

create function refuse_mode_without_epoch() returns trigger language plpgsql as $$
begin
  raise exception 'the mode changes only together with the epoch' using errcode = 'restrict_violation';
end $$;
create trigger quota_authority_mode_has_epoch before update on quota_authority
  for each row when (new.mode is distinct from old.mode and new.epoch <= old.epoch)
  execute function refuse_mode_without_epoch();
`;

const FOLLOWERS = `
alter table quota_follower add column epoch bigint not null default 0;
alter table quota_follower add column seen_ms bigint not null default 0 check (seen_ms >= 0);
comment on column quota_follower.seen_ms is
  'In mode postgres: for how long of this epoch the process has seen the server answer without a break, by its own '
  'monotonic clock, as of its last beat. Redis decides again once every living process has seen the same one long enough.';
`;
