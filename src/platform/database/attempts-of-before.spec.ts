import { randomUUID } from 'node:crypto';
import { AttemptsAndCosts1763900300000 } from '../../../migrations/1763900300000-attempts-and-costs';
import { type DatabaseBefore, openDatabaseBefore } from '../../../test/support/database-before';
import { newId } from '../../kernel/ids';

describe('the migration that gives attempts rows of their own', () => {
  let database: DatabaseBefore;

  beforeEach(async () => {
    database = await openDatabaseBefore(AttemptsAndCosts1763900300000);
  });
  afterEach(() => database.drop());

  /** As the gateways of before wrote it. */
  async function logged(status: number, attempts: readonly object[]): Promise<string> {
    const id = newId();
    await database.client.query(
      `insert into request_log (id, tenant_id, channel, route, model, is_stream, status, attempts, duration_ms)
         values ($1, $2, 'external', '/v1/chat/completions', 'm', false, $3, $4, 1)`,
      [id, randomUUID(), status, JSON.stringify(attempts)],
    );
    return id;
  }

  async function attemptsOf(requestId: string): Promise<readonly object[]> {
    const { rows } = await database.client.query<object>(
      `select attempt, upstream_id, upstream_name, status, outcome, is_served, duration_ms, tokens, paid_by,
              upstream_cost_nano_usd as cost from request_attempt where request_id = $1 order by attempt`,
      [requestId],
    );
    return rows;
  }

  it('keeps those of before, in order, with the names of upstreams that are gone', async () => {
    const [provider, upstream, gone] = [newId(), newId(), newId()];
    await database.client.query(
      `insert into provider (id, name, kind, base_url, api_key_encrypted) values ($1, 'p', 'openai', 'x', '')`,
      [provider],
    );
    await database.client.query(
      `insert into upstream (id, provider_id, name, model, upstream_model) values ($1, $2, 'here', 'm', 'm')`,
      [upstream, provider],
    );
    const failed = { upstream_id: gone, upstream_name: 'gone', outcome: 'first_byte_timeout', duration_ms: 700 };
    const served = { upstream_id: upstream, upstream_name: 'here', outcome: '200', duration_ms: 12 };
    const answered = await logged(200, [failed, served]);
    const refused = await logged(502, [{ ...served, outcome: '503' }]);
    const never = await logged(402, []);
    await database.migrate();
    const unknown = { tokens: null, cost: '0' };
    expect(await attemptsOf(answered)).toEqual([
      { ...failed, ...unknown, attempt: 1, upstream_id: null, status: null, is_served: false, paid_by: 'nobody' },
      { ...served, ...unknown, attempt: 2, status: 200, is_served: true, paid_by: 'tenant' },
    ]);
    expect(await attemptsOf(refused)).toMatchObject([{ attempt: 1, status: 503, is_served: false, paid_by: 'nobody' }]);
    expect(await attemptsOf(never)).toEqual([]);
  });

  it('says of charges of before that nothing is known of what they cost', async () => {
    const id = newId();
    await database.client.query(
      `insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, amount_nano_usd, ended_at)
         values ($1, $2, $3, 'charge', 'COMMITTED', 'external', 5, now())`,
      [id, randomUUID(), newId()],
    );
    await database.migrate();
    const { rows } = await database.client.query('select upstream_cost_nano_usd from billing_transaction');
    expect(rows).toEqual([{ upstream_cost_nano_usd: '0' }]);
  });
});
