import { Body, Get, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { ApiPageOf, type Page } from '../paging/page';
import { CreatePriceDto, PriceDto, PriceQuery } from './price.dto';
import { PricesService } from './prices.service';

@AdminController('prices', 'Prices')
export class PricesController {
  constructor(private readonly prices: PricesService) {}

  @Post()
  @ApiCreatedResponse({ type: PriceDto })
  @ApiOperation({ summary: 'Add a version of a model’s price; calls that run keep the one they were admitted by' })
  create(@Body() dto: CreatePriceDto): Promise<Readonly<PriceDto>> {
    return this.prices.create(dto, ADMIN_TOKEN_ACTOR);
  }

  @Get()
  @ApiOperation({ summary: 'Price versions, newest first' })
  @ApiPageOf(PriceDto)
  list(@Query() query: PriceQuery): Promise<Page<PriceDto>> {
    return this.prices.list(query);
  }
}
