import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { BillingTransaction } from '../../billing/entities/billing-transaction.entity';
import { LedgerService } from '../../billing/ledger/ledger.service';
import { postRefund, type Refund, type RefundPosting } from '../../billing/ledger/refund';
import { toDecimalUsd } from '../../kernel/money';
import { audit } from '../audit/audit-trail';
import { moneyTransaction } from '../audit/money-transaction';
import { notFound } from '../refusals';
import { administratorsKey } from '../validation/idempotency-key';
import { amountOf } from '../validation/is-usd.decorator';
import type { CreateRefundDto, RefundDto } from './refund.dto';

/** Refunds by an administrator's hand. The same Idempotency-Key refunds once, however often it is sent. */
@Injectable()
export class RefundsService {
  constructor(
    private readonly ledger: LedgerService,
    private readonly dataSource: DataSource,
  ) {}

  async refund(
    chargeId: string,
    dto: CreateRefundDto,
    idempotencyKey: string | undefined,
    actor: string,
  ): Promise<Readonly<RefundDto>> {
    const key = administratorsKey(idempotencyKey);
    const tenantId = await this.tenantOf(chargeId);
    const refund: Refund = {
      tenantId,
      chargeId,
      reasonCode: dto.reason_code,
      description: `${dto.description ?? `refund of charge ${chargeId}`} (by ${actor})`,
      amount: dto.amount_usd === undefined ? undefined : amountOf(dto.amount_usd),
      idempotencyKey: key,
    };
    const posted = await moneyTransaction(this.dataSource, async (manager, client) => {
      const posting = await postRefund(client, refund);
      // A repeat finds posting and audit row both, and writes nothing.
      if (posting.isRepeat) return posting;
      const after = { ...render(refund, posting), reason_code: dto.reason_code, description: dto.description ?? null };
      await audit(manager, { actor, action: 'refund', entity: 'transaction', entityId: chargeId, after });
      return posting;
    });
    this.ledger.project(tenantId, posted);
    return render(refund, posted);
  }

  /** Never changes: it may be read before the tenant's accounts are locked. */
  private async tenantOf(chargeId: string): Promise<string> {
    const charge = await this.dataSource
      .getRepository(BillingTransaction)
      .findOne({ where: { id: chargeId }, select: { tenantId: true } });
    if (!charge) throw notFound('charge');
    return charge.tenantId;
  }
}

function render({ tenantId, chargeId }: Refund, posted: RefundPosting): Readonly<RefundDto> {
  return {
    id: posted.transactionId,
    object: 'refund',
    tenant_id: tenantId,
    original_transaction_id: chargeId,
    amount_usd: toDecimalUsd(posted.amount),
    refunded_usd: toDecimalUsd(posted.givenBack),
    posted_usd: toDecimalUsd(posted.posted),
    version: posted.version.toString(),
  };
}
