import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What gives back or corrects names the charge it belongs to, so that a charge is followed through everything that was
 * booked for it. Credit notes give back what a charge was too dear.
 */
export class Corrections1763900200000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(LINKS);
    await runner.query(CREDIT_NOTES);
  }

  down(): Promise<void> {
    return Promise.reject(new Error('Credit notes name the charges they correct: they are never taken back.'));
  }
}

/**
 * Refunds stand in the charge's reversed_by; a late settle says in its description which charge it is of. No index of a
 * charge changes: the new one leaves charges out.
 */
const LINKS = `
alter table billing_transaction add column original_transaction_id uuid
  check (original_transaction_id <> id);
comment on column billing_transaction.original_transaction_id is
  'Of a refund, credit note or correction: the charge it belongs to; of an adjustment that corrects one, that. Null in '
  'charges and in what belongs to none.';
alter type charge_row add attribute original_transaction_id uuid;

update billing_transaction r set original_transaction_id = c.id
  from billing_transaction c
 where r.type = 'refund' and c.reversed_by = r.id;
update billing_transaction set original_transaction_id = substring(description from '^late settle of charge (.{36})$')::uuid
 where type = 'correction' and description ~ '^late settle of charge [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';

create index billing_transaction_by_original on billing_transaction (original_transaction_id)
  where original_transaction_id is not null;
`;

/** Transfers have the kind already. */
const CREDIT_NOTES = `
alter table billing_transaction drop constraint billing_transaction_type_check;
alter table billing_transaction add constraint billing_transaction_type_check
  check (type in ('charge', 'recharge', 'adjustment', 'refund', 'correction', 'credit_note'));
alter table billing_transaction add constraint billing_transaction_credit_note_check
  check (type <> 'credit_note' or original_transaction_id is not null and amount_nano_usd > 0);
`;
