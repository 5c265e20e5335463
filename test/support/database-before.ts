import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { DataSource, type MigrationInterface } from 'typeorm';
import { runMigrations } from '../../src/platform/database/migrate';
import { MIGRATIONS } from '../../src/platform/database/migrations';
import { databaseUrl, testState } from './test-state';

/** A database as it was before a migration, for rows that the gateways of then wrote. */
export interface DatabaseBefore {
  readonly client: Client;
  /** Everything from that migration on. */
  migrate(): Promise<void>;
  drop(): Promise<void>;
}

export async function openDatabaseBefore(migration: new () => MigrationInterface): Promise<DatabaseBefore> {
  const name = `before_${randomUUID().replaceAll('-', '')}`;
  await onServer(`create database ${name}`);
  const url = databaseUrl(testState().serverUrl, name);
  const dataSource = new DataSource({
    type: 'postgres',
    url,
    installExtensions: false,
    migrations: MIGRATIONS.slice(0, MIGRATIONS.indexOf(migration)),
    migrationsTransactionMode: 'each',
  });
  await dataSource.initialize();
  await dataSource.runMigrations();
  await dataSource.destroy();
  const client = new Client(url);
  await client.connect();
  return {
    client,
    migrate: async () => {
      await runMigrations(url);
    },
    drop: async () => {
      await client.end();
      await onServer(`drop database if exists ${name} with (force)`);
    },
  };
}

async function onServer(sql: string): Promise<void> {
  const client = new Client(testState().serverUrl);
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
