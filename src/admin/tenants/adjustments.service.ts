import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { type Adjustment, LedgerService, type PostedAdjustment } from '../../billing/ledger/ledger.service';
import { type NanoUsd, toDecimalUsd } from '../../kernel/money';
import { audit } from '../audit/audit-trail';
import { invalid } from '../refusals';
import { amountOf } from '../validation/is-usd.decorator';
import type { AdjustmentDto, CreateAdjustmentDto } from './tenant.dto';

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

/** Credits and debits by an administrator's hand. The same Idempotency-Key posts once, however often it is sent. */
@Injectable()
export class AdjustmentsService {
  constructor(
    private readonly ledger: LedgerService,
    private readonly dataSource: DataSource,
  ) {}

  async adjust(
    tenantId: string,
    dto: CreateAdjustmentDto,
    idempotencyKey: string | undefined,
    actor: string,
  ): Promise<Readonly<AdjustmentDto>> {
    if (idempotencyKey === undefined || !IDEMPOTENCY_KEY.test(idempotencyKey)) {
      throw invalid('Idempotency-Key', 'the header must be sent: 1 to 255 printable characters without blanks');
    }
    const amount = amountOf(dto.amount_usd);
    if (amount === 0n) throw invalid('amount_usd', 'must not be zero');
    const posted = await this.post({
      tenantId,
      amount,
      reasonCode: dto.reason_code,
      description: dto.description,
      // Apart from the keys the product makes itself.
      idempotencyKey: `admin:${idempotencyKey}`,
      actor,
    });
    return {
      id: posted.transactionId,
      object: 'adjustment',
      tenant_id: tenantId,
      amount_usd: toDecimalUsd(amount),
      posted_usd: toDecimalUsd(posted.posted),
      version: posted.version.toString(),
    };
  }

  /** Once in a tenant's life. */
  async postInitialBalance(tenantId: string, amount: NanoUsd, actor: string): Promise<void> {
    await this.post({
      tenantId,
      amount,
      reasonCode: 'INITIAL_BALANCE',
      description: 'initial balance',
      idempotencyKey: 'initial-balance',
      actor,
    });
  }

  private async post(adjustment: Adjustment): Promise<PostedAdjustment> {
    const posted = await this.ledger.adjust(adjustment);
    await this.auditOnce(adjustment, posted.transactionId);
    return posted;
  }

  /**
   * The ledger posts in a transaction of its own, so the audit row follows it. Were it lost in between, the repeat with
   * the same Idempotency-Key writes it; a repeat that finds it writes nothing. The posting itself names the actor, too.
   */
  private async auditOnce(adjustment: Adjustment, transactionId: string): Promise<void> {
    await this.dataSource.transaction(async (manager) => {
      await manager.query(`select pg_advisory_xact_lock(hashtextextended($1, 0))`, [transactionId]);
      const after = {
        transaction_id: transactionId,
        amount_usd: toDecimalUsd(adjustment.amount),
        reason_code: adjustment.reasonCode,
        description: adjustment.description,
      };
      const found: unknown[] = await manager.query(
        `select 1 from audit_log where entity = 'tenant' and entity_id = $1 and after ->> 'transaction_id' = $2 limit 1`,
        [adjustment.tenantId, transactionId],
      );
      if (found.length > 0) return;
      const { actor, tenantId } = adjustment;
      await audit(manager, { actor, action: 'adjust', entity: 'tenant', entityId: tenantId, after });
    });
  }
}
