import { Body, HttpCode, Post } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiOkResponse, ApiOperation, ApiResponse } from '@nestjs/swagger';
import { NUMBERS_AS_TEXT } from '../../../platform/http/body-parser';
import { AdminController } from '../../access/admin-controller.decorator';
import { ADMIN_TOKEN_ACTOR } from '../../access/admin.guard';
import { ImportPricesDto, PriceImportDto, PreviewPricesDto, PricePreviewDto } from './price-import.dto';
import { PriceImportService } from './price-import.service';

@AdminController('prices', 'Prices')
export class PriceImportsController {
  constructor(private readonly imports: PriceImportService) {}

  @Post('preview')
  @HttpCode(200)
  @RouteConfig(NUMBERS_AS_TEXT)
  @ApiOkResponse({ type: PricePreviewDto })
  @ApiOperation({
    summary: 'What an import of a list of prices would change, and what of it is suspicious; writes nothing',
  })
  preview(@Body() dto: PreviewPricesDto): Promise<Readonly<PricePreviewDto>> {
    return this.imports.preview(dto);
  }

  @Post('import')
  @HttpCode(200)
  @RouteConfig(NUMBERS_AS_TEXT)
  @ApiOkResponse({ type: PriceImportDto })
  @ApiResponse({
    status: 409,
    description: 'Something else than the preview showed, or findings that nobody accepted.',
  })
  @ApiOperation({ summary: 'Add a version for each model of a preview that differs, all or none' })
  import(@Body() dto: ImportPricesDto): Promise<Readonly<PriceImportDto>> {
    return this.imports.import(dto, ADMIN_TOKEN_ACTOR);
  }
}
