import { ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, IsUUID, Matches, Max, Min } from 'class-validator';

export class LimitQuery {
  @ApiPropertyOptional({ type: 'integer', minimum: 1, maximum: 100, default: 20, description: 'Rows a page.' })
  @IsOptional()
  @Type(() => Number)
  @Min(1)
  @Max(100)
  @IsInt()
  limit = 20;
}

/** Pages of rows whose id is a UUIDv7, newest first. */
export class PageQuery extends LimitQuery {
  /** `next_cursor` of the page before. */
  @IsOptional()
  @IsUUID()
  after?: string;
}

/** Pages of rows that are numbered, newest first. */
export class NumberedPageQuery extends LimitQuery {
  /** `next_cursor` of the page before. */
  @IsOptional()
  @Matches(/^[1-9]\d{0,17}$/, { message: 'after must be the next_cursor of the page before' })
  after?: string;
}
