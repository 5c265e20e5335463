import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { Corrections1763900200000 } from '../../../migrations/1763900200000-corrections';
import { databaseUrl, testState } from '../../../test/support/test-state';
import { runMigrations } from './migrate';
import { MIGRATIONS } from './migrations';

/** Rows as the gateways of before wrote them. */
const INSERT = `
insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, amount_nano_usd, refunded_nano_usd,
                                 description, reversed_by, ended_at)
  values ($1, $2, gen_random_uuid(), $3, 'COMMITTED', 'external', 5, $4, $5, $6, now())`;

describe('the migration that links corrections', () => {
  let name: string;
  let client: Client;

  beforeEach(async () => {
    name = `before_${randomUUID().replaceAll('-', '')}`;
    await onServer(`create database ${name}`);
    const url = databaseUrl(testState().serverUrl, name);
    const dataSource = new DataSource({
      type: 'postgres',
      url,
      installExtensions: false,
      migrations: MIGRATIONS.slice(0, MIGRATIONS.indexOf(Corrections1763900200000)),
      migrationsTransactionMode: 'each',
    });
    await dataSource.initialize();
    await dataSource.runMigrations();
    await dataSource.destroy();
    client = new Client(url);
    await client.connect();
  });

  afterEach(async () => {
    await client.end();
    await onServer(`drop database if exists ${name} with (force)`);
  });

  it('finds the charge of every refund and late settle, and leaves what says none alone', async () => {
    const tenantId = randomUUID();
    const [charge, refund, late, unclear, adjustment] = Array.from({ length: 5 }, () => randomUUID());
    const rows: readonly (readonly [unknown, string, number, string | null, unknown])[] = [
      [charge, 'charge', 5, null, refund],
      [refund, 'refund', 0, 'charge was not answered', null],
      [late, 'correction', 0, `late settle of charge ${charge ?? ''}`, null],
      [unclear, 'correction', 0, 'late settle of charge somebody knows', null],
      [adjustment, 'adjustment', 0, `late settle of charge ${charge ?? ''}`, null],
    ];
    for (const [id, type, refunded, description, reversedBy] of rows) {
      await client.query(INSERT, [id, tenantId, type, refunded, description, reversedBy]);
    }
    await runMigrations(databaseUrl(testState().serverUrl, name));
    const { rows: found } = await client.query<{ id: string; original: string | null }>(
      `select id, original_transaction_id as original from billing_transaction`,
    );
    expect(Object.fromEntries(found.map(({ id, original }) => [id, original]))).toEqual({
      [charge ?? '']: null,
      [refund ?? '']: charge,
      [late ?? '']: charge,
      [unclear ?? '']: null,
      [adjustment ?? '']: null,
    });
  });
});

async function onServer(sql: string): Promise<void> {
  const client = new Client(testState().serverUrl);
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
