import { Body, Delete, Get, Patch, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { IdParam } from '../access/id-param.decorator';
import { ApiPageOf, type Page } from '../paging/page';
import { CreateSubscriptionDto, SubscriptionDto, SubscriptionQuery, UpdateSubscriptionDto } from './subscription.dto';
import { SubscriptionsService } from './subscriptions.service';

@AdminController('subscriptions', 'Subscriptions')
export class SubscriptionsController {
  constructor(private readonly subscriptions: SubscriptionsService) {}

  @Post()
  @ApiCreatedResponse({ type: SubscriptionDto })
  @ApiOperation({ summary: 'Let a subscription pay for the keys of a subscription group' })
  create(@Body() dto: CreateSubscriptionDto): Promise<Readonly<SubscriptionDto>> {
    return this.subscriptions.create(dto, ADMIN_TOKEN_ACTOR);
  }

  @Get()
  @ApiOperation({ summary: 'Subscriptions, newest first' })
  @ApiPageOf(SubscriptionDto)
  list(@Query() query: SubscriptionQuery): Promise<Page<SubscriptionDto>> {
    return this.subscriptions.list(query);
  }

  @Get(':id')
  @ApiOkResponse({ type: SubscriptionDto })
  @ApiOperation({ summary: 'One subscription' })
  get(@IdParam() id: string): Promise<Readonly<SubscriptionDto>> {
    return this.subscriptions.get(id);
  }

  @Patch(':id')
  @ApiOkResponse({ type: SubscriptionDto })
  @ApiOperation({ summary: 'Change status, time or limits; charges under way keep what they began with' })
  update(@IdParam() id: string, @Body() dto: UpdateSubscriptionDto): Promise<Readonly<SubscriptionDto>> {
    return this.subscriptions.update(id, dto, ADMIN_TOKEN_ACTOR);
  }

  @Delete(':id')
  @ApiOkResponse({ type: SubscriptionDto })
  @ApiOperation({ summary: 'Close a subscription for good: it pays for nothing more, its history stays' })
  close(@IdParam() id: string): Promise<Readonly<SubscriptionDto>> {
    return this.subscriptions.close(id, ADMIN_TOKEN_ACTOR);
  }
}
