import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * RUN_MODE=simple makes no charge, and the row of a charge is where tokens are kept: without this, what such a call used
 * would be known nowhere. One column, because every row of the standard mode leaves it empty.
 */
export class UsageInRequestLog1763800300000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table request_log add column usage jsonb`);
    await runner.query(`
      comment on column request_log.usage is
        'Of a call that RUN_MODE=simple did not charge: tokens by bucket, how they were counted, the price version and what '
        'the call would have cost. Null where a charge says it.'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('alter table request_log drop column usage');
  }
}
