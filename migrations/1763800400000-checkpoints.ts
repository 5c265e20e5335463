import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What open streams have delivered is written every few seconds, so that a dead process' charges are known. */
export class Checkpoints1763800400000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(CHECKPOINT);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop function billing_checkpoint(json)');
  }
}

const INDEXES_ONLY =
  'set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan';

/** A row that is locked is being ended: it needs no checkpoint, and nobody waits for one. */
const CHECKPOINT = `
create function billing_checkpoint(p_rows json) returns table (id uuid)
language plpgsql ${INDEXES_ONLY} as $$
#variable_conflict use_column
begin
  return query
    with input as (
      select (r ->> 'id')::uuid as id, (r -> 'checkpoint')::jsonb as checkpoint from json_array_elements(p_rows) r),
    open as (
      select b.id from billing_transaction b
       where b.id in (select i.id from input i) and b.status = 'PENDING' for update skip locked)
    update billing_transaction b set checkpoint = i.checkpoint
      from input i
     where b.id = i.id and b.id in (select o.id from open o)
    returning b.id;
end $$;
comment on function billing_checkpoint is
  'Keeps in open charges what their streams have delivered so far; answers those it was kept in. A charge that has ended, '
  'or whose row is not there yet, is left as it is.';
`;
