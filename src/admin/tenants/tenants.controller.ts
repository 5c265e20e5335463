import { Body, Delete, Get, Headers, HttpCode, Patch, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiHeader, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { IdParam } from '../access/id-param.decorator';
import { ApiPageOf, type Page } from '../paging/page';
import { AdjustmentsService } from './adjustments.service';
import { TenantQuotaService } from './tenant-quota.service';
import {
  AdjustmentDto,
  CreateAdjustmentDto,
  CreateTenantDto,
  TenantDto,
  TenantQuery,
  TenantQuotaDto,
  UpdateTenantDto,
} from './tenant.dto';
import { TenantsService } from './tenants.service';

@AdminController('tenants', 'Tenants')
export class TenantsController {
  constructor(
    private readonly tenants: TenantsService,
    private readonly quotas: TenantQuotaService,
    private readonly adjustments: AdjustmentsService,
  ) {}

  @Post()
  @ApiCreatedResponse({ type: TenantDto })
  @ApiOperation({ summary: 'Create a tenant with its wallet' })
  create(@Body() dto: CreateTenantDto): Promise<Readonly<TenantDto>> {
    return this.tenants.create(dto, ADMIN_TOKEN_ACTOR);
  }

  @Get()
  @ApiOperation({ summary: 'Tenants with their balances, newest first' })
  @ApiPageOf(TenantDto)
  list(@Query() query: TenantQuery): Promise<Page<TenantDto>> {
    return this.tenants.list(query);
  }

  @Get(':id')
  @ApiOkResponse({ type: TenantDto })
  @ApiOperation({ summary: 'One tenant with its balance' })
  get(@IdParam() id: string): Promise<Readonly<TenantDto>> {
    return this.tenants.get(id);
  }

  @Patch(':id')
  @ApiOkResponse({ type: TenantDto })
  @ApiOperation({ summary: 'Change a tenant: name, status, limits, zone' })
  update(@IdParam() id: string, @Body() dto: UpdateTenantDto): Promise<Readonly<TenantDto>> {
    return this.tenants.update(id, dto, ADMIN_TOKEN_ACTOR);
  }

  @Delete(':id')
  @ApiOkResponse({ type: TenantDto })
  @ApiOperation({ summary: 'Close a tenant: its keys are refused, its history stays' })
  close(@IdParam() id: string): Promise<Readonly<TenantDto>> {
    return this.tenants.close(id, ADMIN_TOKEN_ACTOR);
  }

  @Get(':id/quota')
  @ApiOkResponse({ type: TenantQuotaDto })
  @ApiOperation({ summary: 'What is used of every limit of a tenant' })
  quota(@IdParam() id: string): Promise<Readonly<TenantQuotaDto>> {
    return this.quotas.get(id);
  }

  @Post(':id/adjustments')
  @ApiCreatedResponse({ type: AdjustmentDto })
  @HttpCode(201)
  @ApiOperation({ summary: 'Credit or debit the wallet; the same Idempotency-Key posts once' })
  @ApiHeader({ name: 'Idempotency-Key', required: true, description: '1 to 255 printable characters.' })
  adjust(
    @IdParam() id: string,
    @Body() dto: CreateAdjustmentDto,
    @Headers('idempotency-key') idempotencyKey: string | undefined,
  ): Promise<Readonly<AdjustmentDto>> {
    return this.adjustments.adjust(id, dto, idempotencyKey, ADMIN_TOKEN_ACTOR);
  }
}
