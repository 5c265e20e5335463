import { Injectable } from '@nestjs/common';
import type { PoolClient } from 'pg';
import { DataSource, type EntityManager } from 'typeorm';
import type { Posting } from '../../billing/ledger/booking';
import { type Adjustment, LedgerService } from '../../billing/ledger/ledger.service';
import { OWN_REASON_CODE } from '../../billing/ledger/reason-codes';
import { toDecimalUsd } from '../../kernel/money';
import { audit } from '../audit/audit-trail';
import { moneyTransaction } from '../audit/money-transaction';
import { administratorsKey } from '../validation/idempotency-key';
import { amountOf } from '../validation/is-usd.decorator';
import type { AdjustmentDto, CreateAdjustmentDto } from './tenant.dto';

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
    const key = administratorsKey(idempotencyKey);
    const amount = amountOf(dto.amount_usd);
    const adjustment = {
      tenantId,
      amount,
      account: dto.account ?? ('wallet' as const),
      reasonCode: dto.reason_code,
      description: dto.description,
      idempotencyKey: key,
      actor,
      originalTransactionId: dto.original_transaction_id,
    };
    const posted = await moneyTransaction(this.dataSource, (manager, client) =>
      this.postAudited(manager, client, adjustment),
    );
    this.ledger.project(tenantId, posted);
    return {
      id: posted.transactionId,
      object: 'adjustment',
      tenant_id: tenantId,
      amount_usd: toDecimalUsd(amount),
      posted_usd: toDecimalUsd(posted.posted),
      version: posted.version.toString(),
    };
  }

  /** Once in a tenant's life, in the transaction that makes the tenant; `ledger.project` follows its commit. */
  postInitialBalance(
    manager: EntityManager,
    client: PoolClient,
    { tenantId, amount, actor }: Pick<Adjustment, 'tenantId' | 'amount' | 'actor'>,
  ): Promise<Posting> {
    return this.postAudited(manager, client, {
      tenantId,
      amount,
      reasonCode: OWN_REASON_CODE.initialBalance,
      description: 'initial balance',
      idempotencyKey: 'initial-balance',
      actor,
    });
  }

  /** The posting and its audit row: both stand or neither does. A repeat finds both and writes nothing. */
  private async postAudited(manager: EntityManager, client: PoolClient, adjustment: Adjustment): Promise<Posting> {
    const posted = await this.ledger.post(client, adjustment);
    if (posted.isRepeat) return posted;
    await audit(manager, {
      actor: adjustment.actor,
      action: 'adjust',
      entity: 'tenant',
      entityId: adjustment.tenantId,
      after: {
        transaction_id: posted.transactionId,
        amount_usd: toDecimalUsd(adjustment.amount),
        account: adjustment.account ?? 'wallet',
        reason_code: adjustment.reasonCode,
        description: adjustment.description,
        ...(adjustment.originalTransactionId === undefined
          ? {}
          : { original_transaction_id: adjustment.originalTransactionId }),
      },
    });
    return posted;
  }
}
