import { Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { AdminController } from '../access/admin-controller.decorator';
import { MarginQuery, MarginsDto } from './margin.dto';
import { MarginsService } from './margins.service';

@AdminController('margins', 'Ledger')
export class MarginsController {
  constructor(private readonly margins: MarginsService) {}

  @Get()
  @ApiOkResponse({ type: MarginsDto })
  @ApiOperation({
    summary: 'What calls brought in and what they cost us, by model or by upstream, with totals over all',
  })
  list(@Query() query: MarginQuery): Promise<Readonly<MarginsDto>> {
    return this.margins.of(query);
  }
}
