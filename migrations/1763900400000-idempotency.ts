import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * `Idempotency-Key` on inference: which call of an API key has which key, and the sealed answer of one that was charged.
 * Not partitioned: a key must collide whatever the month, and what has expired is deleted by the clock (src/sync).
 */
export class Idempotency1763900400000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(KEYS);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table idempotency_key');
  }
}

const KEYS = `
create table idempotency_key (
  api_key_id    uuid not null,
  key_hash      bytea not null check (octet_length(key_hash) = 32),
  tenant_id     uuid not null,
  request_hash  bytea not null check (octet_length(request_hash) = 32),
  trace_id      uuid not null,
  process_id    uuid not null,
  state         text not null default 'running' check (state in ('running', 'stored', 'answered', 'unkept')),
  sealed_answer bytea check (octet_length(sealed_answer) <= 1052672),
  sealed_tail   bytea check (octet_length(sealed_tail) <= 65536),
  created_at    timestamptz not null default now(),
  expires_at    timestamptz not null,
  primary key (api_key_id, key_hash),
  check ((sealed_answer is not null) = (state in ('stored', 'answered'))),
  check (sealed_tail is null or state = 'answered')
);
create index idempotency_key_by_expiry on idempotency_key (expires_at);
-- Ciphertext does not compress: trying costs more than it saves.
alter table idempotency_key alter column sealed_answer set storage external;
alter table idempotency_key alter column sealed_tail set storage external;

comment on table idempotency_key is
  'One row an Idempotency-Key of an API key, for 24 hours. No foreign keys: a key or a process that is deleted meanwhile '
  'makes no write fail. Whether the answer may be replayed, billing_transaction says: only while the charge of trace_id '
  'stands. Hashes are SHA-256: of the key, and of route and body. Prompts and answers are nowhere in clear.';
comment on column idempotency_key.state is
  'running: being answered by process_id. stored: the answer is kept, its charge may not stand yet. answered: and what its '
  'client was told. unkept: too large to keep, or not kept in time.';
comment on column idempotency_key.sealed_answer is
  'AES-256-GCM with API key, key and trace id as associated data: it opens in its own row only. Written before the settle.';
comment on column idempotency_key.sealed_tail is
  'What is known of the answer only after its settle: cost headers, and the end of a stream with the cost in it.';
`;
