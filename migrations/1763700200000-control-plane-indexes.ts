import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Indexes for those lists of the control plane that would read a whole table to find a few rows. On the two tables that
 * charges write, the predicates leave charges out: no charge pays for a list. The request log pays one entry a row.
 */
export class ControlPlaneIndexes1763700200000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(COLD_TABLES);
    await runner.query(POSTINGS);
    await runner.query(HOUSE_SIDE);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop index audit_log_by_entity, audit_log_by_entity_id, request_log_by_api_key, billing_transaction_postings,
                 ledger_transfer_house_debit, ledger_transfer_house_credit`);
  }
}

/**
 * The id of an entity finds its history with or without its kind. Deleting a key clears it from the request log, which
 * must find its rows, too.
 */
const COLD_TABLES = `
create index audit_log_by_entity on audit_log (entity, id);
create index audit_log_by_entity_id on audit_log (entity_id, id);
create index request_log_by_api_key on request_log (api_key_id, id) where api_key_id is not null;
`;

/** Recharges, adjustments, refunds, corrections: few among the charges. A settle stays a HOT update: it changes no type. */
const POSTINGS = `
create index billing_transaction_postings on billing_transaction (type, id) where type <> 'charge';
`;

/** Entries of the house's accounts, except the revenue of charges: that is nearly every row, newest first without help. */
const HOUSE_SIDE = `
create index ledger_transfer_house_debit on ledger_transfer (debit_account_id, id) where debit_version is null;
create index ledger_transfer_house_credit on ledger_transfer (credit_account_id, id)
  where credit_version is null and credit_account_id <> '00000000-0000-7000-8000-000000000001';
`;
