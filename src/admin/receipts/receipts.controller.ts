import { Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { ReceiptReader } from '../../billing/receipts/receipt-reader';
import { renderAdminReceipt } from '../../billing/receipts/receipt-rendering';
import { AdminReceiptDto } from '../../billing/receipts/receipt.dto';
import { AdminController } from '../access/admin-controller.decorator';
import { IdParam } from '../access/id-param.decorator';
import { notFound } from '../refusals';

@AdminController('receipts', 'Ledger')
export class AdminReceiptsController {
  constructor(private readonly receipts: ReceiptReader) {}

  @Get(':trace_id')
  @ApiOkResponse({ type: AdminReceiptDto })
  @ApiOperation({ summary: 'What one call cost its tenant, and what it cost the house' })
  async get(@IdParam('trace_id') traceId: string): Promise<Readonly<AdminReceiptDto>> {
    const source = await this.receipts.of(traceId);
    if (!source) throw notFound('receipt');
    return renderAdminReceipt(source);
  }
}
