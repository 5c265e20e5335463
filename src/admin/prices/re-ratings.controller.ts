import { Body, Get, HttpCode, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../access/admin.guard';
import { IdParam } from '../access/id-param.decorator';
import { ReRateDto, ReRatingDto, ReRatingQuery } from './re-rating.dto';
import { ReRatingReader } from './re-rating-reader';
import { ReRatingsService } from './re-ratings.service';

@AdminController('prices/re-rate', 'Prices')
export class ReRatingsController {
  constructor(
    private readonly reRatings: ReRatingsService,
    private readonly reader: ReRatingReader,
  ) {}

  @Post()
  @HttpCode(200)
  @ApiOkResponse({ type: ReRatingDto })
  @ApiOperation({
    summary: 'Compute past charges at another price version; apply what a dry run found',
    description:
      'Each charge from the tokens and the multiplier of its snapshot. A dry run (the default) books nothing and answers a ' +
      'plan, which is kept for a week. With `dry_run: false` and its id as `plan_id`, what was too dear is given back by ' +
      'credit notes, 500 charges a request: send it again while the status is `applying`. A charge that was too cheap is ' +
      'reported, and debited only where the plan says `charge_differences`.',
  })
  reRate(@Body() dto: ReRateDto): Promise<Readonly<ReRatingDto>> {
    return this.reRatings.reRate(dto, ADMIN_TOKEN_ACTOR);
  }

  @Get(':id')
  @ApiOkResponse({ type: ReRatingDto })
  @ApiOperation({ summary: 'A re-rating with its lines, a page at a time' })
  get(@IdParam() id: string, @Query() query: ReRatingQuery): Promise<Readonly<ReRatingDto>> {
    return this.reader.get(id, query);
  }
}
