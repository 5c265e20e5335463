import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Providers of the kind `anthropic`, and which API dialects each provider speaks: a call goes in its client's own dialect
 * where the provider speaks it. The default is what every provider of before spoke, for rows that a process of before
 * writes while it still runs; it is not allowed for the new kind, whose rows must say so themselves.
 */
export class ProviderDialects1764000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table provider
        drop constraint provider_kind_check,
        add constraint provider_kind_check check (kind in ('openai', 'anthropic')),
        add column dialects text[] not null default '{openai-chat,openai-embeddings}',
        add constraint provider_dialects_check check (
          cardinality(dialects) > 0
          and dialects <@ '{openai-chat,openai-responses,anthropic-messages,openai-embeddings}'
          and (kind <> 'anthropic' or dialects = '{anthropic-messages}'))`);
    await runner.query(`comment on column provider.dialects is 'The API dialects it speaks, each once.'`);
  }

  /** Fails where a provider of the new kind exists: nobody but its owner may delete it. */
  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table provider
        drop constraint provider_kind_check,
        add constraint provider_kind_check check (kind in ('openai')),
        drop column dialects`);
  }
}
