import { Body, Get, Headers, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiHeader, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { IdParam } from '../access/id-param.decorator';
import { ApiPageOf, type Page } from '../paging/page';
import {
  AccountDto,
  AccountQuery,
  RequestLogDto,
  RequestLogQuery,
  TransactionDetailDto,
  TransactionDto,
  TransactionQuery,
  TransactionTotalsDto,
  TransferDto,
  TransferQuery,
} from './ledger.dto';
import { LedgerReader } from './ledger-reader';
import { CreateRefundDto, RefundDto } from './refund.dto';
import { RefundsService } from './refunds.service';
import { RequestLogsService } from './request-logs.service';
import { TransactionsService } from './transactions.service';

@AdminController('', 'Ledger')
export class LedgerController {
  constructor(
    private readonly transactions: TransactionsService,
    private readonly ledger: LedgerReader,
    private readonly requestLogs: RequestLogsService,
    private readonly refunds: RefundsService,
  ) {}

  @Get('transactions')
  @ApiOperation({
    summary:
      'Charges and postings, newest first; with totals over everything the filters let through, where they narrow it',
  })
  @ApiPageOf(TransactionDto, { totals: TransactionTotalsDto })
  listTransactions(
    @Query() query: TransactionQuery,
  ): Promise<Page<TransactionDto> & { readonly totals: TransactionTotalsDto | null }> {
    return this.transactions.list(query);
  }

  @Get('transactions/:id')
  @ApiOkResponse({ type: TransactionDetailDto })
  @ApiOperation({ summary: 'One charge or posting with the arithmetic behind its amount' })
  getTransaction(@IdParam() id: string): Promise<Readonly<TransactionDetailDto>> {
    return this.transactions.get(id);
  }

  @Post('transactions/:id/refunds')
  @ApiCreatedResponse({ type: RefundDto })
  @ApiOperation({
    summary: 'Give a committed charge back, whole or in part; the same Idempotency-Key refunds once',
    description: 'To the accounts that paid. Request counters and USD windows stay as they are.',
  })
  @ApiHeader({ name: 'Idempotency-Key', required: true, description: '1 to 255 printable characters.' })
  refund(
    @IdParam() id: string,
    @Body() dto: CreateRefundDto,
    @Headers('idempotency-key') idempotencyKey: string | undefined,
  ): Promise<Readonly<RefundDto>> {
    return this.refunds.refund(id, dto, idempotencyKey, ADMIN_TOKEN_ACTOR);
  }

  @Get('ledger/transfers')
  @ApiOperation({ summary: 'Double entries, newest first' })
  @ApiPageOf(TransferDto)
  listTransfers(@Query() query: TransferQuery): Promise<Page<TransferDto>> {
    return this.ledger.transfers(query);
  }

  @Get('ledger/accounts')
  @ApiOperation({ summary: 'Accounts of tenants and of the house, with balances' })
  @ApiPageOf(AccountDto)
  listAccounts(@Query() query: AccountQuery): Promise<Page<AccountDto>> {
    return this.ledger.accounts(query);
  }

  @Get('request-logs')
  @ApiOperation({ summary: 'Operational records of calls, newest first' })
  @ApiPageOf(RequestLogDto)
  listRequestLogs(@Query() query: RequestLogQuery): Promise<Page<RequestLogDto>> {
    return this.requestLogs.list(query);
  }
}
