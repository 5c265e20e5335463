import { Controller, Get } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import type { Principal } from '../auth/principal';
import { TenantBalances } from '../billing/entities/tenant-balances';
import { toDecimalUsd } from '../kernel/money';
import { Caller } from './http/caller';

/** Amounts are decimal USD strings with nine decimals. */
export class BalanceResponse {
  @ApiProperty({ enum: ['balance'] })
  object!: 'balance';

  @ApiProperty({ description: 'Balance of the wallet.', example: '10.000000000' })
  posted_usd!: string;

  @ApiProperty({ description: 'How far below zero the wallet may go.', example: '0.000000000' })
  credit_limit_usd!: string;

  @ApiProperty({ description: 'Reserved by calls that have not ended.', example: '0.000123000' })
  held_usd!: string;

  @ApiProperty({ description: 'What the next call may cost: posted + credit limit − held.', example: '9.999877000' })
  available_usd!: string;
}

/** `GET /v1/balance`: the tenant's own, never another's: the tenant comes from the key alone. */
@Controller('v1/balance')
@ApiTags('Account')
@ApiBearerAuth('api-key')
export class BalanceController {
  constructor(private readonly balances: TenantBalances) {}

  @Get()
  @ApiOperation({ summary: 'Balance of the tenant the key belongs to' })
  @ApiOkResponse({ type: BalanceResponse })
  async get(@Caller() principal: Principal): Promise<Readonly<BalanceResponse>> {
    const balance = await this.balances.of(principal.tenantId);
    if (!balance) throw new Error(`tenant ${principal.tenantId} has no ledger accounts`);
    return {
      object: 'balance',
      posted_usd: toDecimalUsd(balance.posted),
      credit_limit_usd: toDecimalUsd(balance.creditLimit),
      held_usd: toDecimalUsd(balance.held),
      available_usd: toDecimalUsd(balance.available),
    };
  }
}
