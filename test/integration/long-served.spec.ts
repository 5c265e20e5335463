import { Client } from 'pg';
import { newId } from '../../src/kernel/ids';
import { ControlPlane, textOf } from '../support/control-plane-harness';

/** More than one statement may touch. */
const CALLS = 21_000;
const AT_ONCE = 11_000;
const IDS = `
  select n, (left(uuid_floor(now() - n * interval '1 millisecond')::text, 24) || right(gen_random_uuid()::text, 12))::uuid as id
    from generate_series(1, ${CALLS}) n offset 0`;

describe('what has served for long', () => {
  let plane: ControlPlane;
  let owner: Client;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    owner = new Client({ connectionString: plane.database.url });
    await owner.connect();
    await owner.query(`
      create function bound_statement() returns trigger language plpgsql as
        $$ begin if (select count(*) from touched) > ${AT_ONCE} then raise exception 'too many rows'; end if; return null; end $$;
      create trigger bound_statement after update on request_attempt referencing new table as touched
        for each statement execute function bound_statement();
      create trigger bound_statement after update on request_log referencing new table as touched
        for each statement execute function bound_statement()`);
  });
  afterAll(async () => {
    await owner.end();
    await plane.stop();
  });

  async function newUpstream(): Promise<{ providerId: string; upstreamId: string }> {
    const fields = { name: newId(), kind: 'openai', base_url: 'http://127.0.0.1:9/v1', api_key: 'k' };
    const providerId = textOf(await plane.expectAdmin(201, 'POST', 'providers', fields), 'id');
    const upstream = { provider_id: providerId, model: 'm', upstream_model: 'm' };
    return { providerId, upstreamId: textOf(await plane.expectAdmin(201, 'POST', 'upstreams', upstream), 'id') };
  }

  /** Of every tenth call two. */
  async function attemptsBy(upstreamId: string): Promise<void> {
    await owner.query(
      `insert into request_attempt (request_id, attempt, tenant_id, upstream_id, upstream_name, outcome, is_served, duration_ms, paid_by)
       select c.id, a, gen_random_uuid(), $1, 'kept', '200', true, 1, 'nobody'
         from (${IDS}) c cross join lateral generate_series(1, case when c.n % 10 = 0 then 2 else 1 end) a`,
      [upstreamId],
    );
  }

  async function namedIn(table: 'request_attempt' | 'request_log', column: string, id: string): Promise<number> {
    const { rows } = await owner.query<{ n: string }>(`select count(*) as n from ${table} where ${column} = $1`, [id]);
    return Number(rows[0]?.n);
  }

  it('is deleted in pieces, however many attempts name it: an upstream', async () => {
    const { upstreamId } = await newUpstream();
    await attemptsBy(upstreamId);
    expect((await plane.admin('DELETE', `upstreams/${upstreamId}`)).status).toBe(200);
    expect(await namedIn('request_attempt', 'upstream_id', upstreamId)).toBe(0);
  });

  it('is deleted in pieces, however many attempts name it: a provider with its upstreams', async () => {
    const { providerId, upstreamId } = await newUpstream();
    await attemptsBy(upstreamId);
    expect((await plane.admin('DELETE', `providers/${providerId}`)).status).toBe(200);
    expect(await namedIn('request_attempt', 'upstream_id', upstreamId)).toBe(0);
  });

  it('is deleted in pieces, however many calls name it: a key', async () => {
    const tenantId = await plane.newTenant();
    const { id } = await plane.newKey(tenantId);
    await owner.query(
      `insert into request_log (id, tenant_id, api_key_id, channel, route, is_stream, status, duration_ms)
       select c.id, $1, $2, 'external', '/', false, 200, 1 from (${IDS}) c`,
      [tenantId, id],
    );
    expect((await plane.admin('DELETE', `api-keys/${id}`)).status).toBe(200);
    expect(await namedIn('request_log', 'api_key_id', id)).toBe(0);
  });
});
