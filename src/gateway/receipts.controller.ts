import { Controller, Get, Param, ParseUUIDPipe } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiParam, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { Principal } from '../auth/principal';
import { ReceiptReader } from '../billing/receipts/receipt-reader';
import { renderReceipt } from '../billing/receipts/receipt-rendering';
import { ReceiptDto } from '../billing/receipts/receipt.dto';
import { refuse, RefusalError } from '../kernel/errors';
import { Caller } from './http/caller';

function TraceIdParam(): ParameterDecorator {
  const exceptionFactory = (): RefusalError =>
    new RefusalError(refuse('INVALID_REQUEST', { param: 'trace_id', values: { reason: 'must be a UUID' } }));
  return Param('trace_id', new ParseUUIDPipe({ exceptionFactory }));
}

/** `GET /v1/receipts/{trace_id}`: of the tenant's own calls, whichever of its keys made them; another's does not exist. */
@Controller('v1/receipts')
@ApiTags('Account')
@ApiBearerAuth('api-key')
export class ReceiptsController {
  constructor(private readonly receipts: ReceiptReader) {}

  @Get(':trace_id')
  @ApiOperation({
    summary: 'What one call cost, and why',
    description: 'By the `x-request-id` of the answer. The lines are unrounded and sum exactly to the cost.',
  })
  @ApiParam({ name: 'trace_id', format: 'uuid' })
  @ApiOkResponse({ type: ReceiptDto })
  @ApiResponse({ status: 400, description: 'The trace id is no UUID.' })
  @ApiResponse({ status: 404, description: 'This tenant made no such call, or nothing is kept of it.' })
  async get(@Caller() caller: Principal, @TraceIdParam() traceId: string): Promise<Readonly<ReceiptDto>> {
    const source = await this.receipts.ofTenant(traceId, caller.tenantId);
    if (!source) throw new RefusalError(refuse('NOT_FOUND', { values: { what: 'receipt' } }));
    return renderReceipt(source);
  }
}
