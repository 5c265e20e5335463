import { MayBeAbsent, IsGivenName } from '../validation/fields.decorator';
import { LimitQuery } from './page-query.dto';

/** Pages of rows that a name tells apart, by name. */
export class NamedPageQuery extends LimitQuery {
  /** `next_cursor` of the page before. */
  @MayBeAbsent()
  @IsGivenName()
  after?: string;
}
