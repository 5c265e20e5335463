import { IsIn, IsOptional, IsString, Length } from 'class-validator';
import { AUDITED_ENTITIES, type AuditedEntity } from './audit-trail';
import { NumberedPageQuery } from '../paging/page-query.dto';

export class AuditQuery extends NumberedPageQuery {
  @IsOptional()
  @IsIn(AUDITED_ENTITIES)
  entity?: AuditedEntity;

  @IsOptional()
  @Length(1, 200)
  @IsString()
  entity_id?: string;
}

/** One write of the control plane: who did what, and the entity before and after. */
export class AuditEntryDto {
  id!: string;
  object!: 'audit_entry';
  actor!: string;
  /** Such as `tenant.create`. */
  action!: string;
  entity!: string;
  entity_id!: string;
  /** As the API showed it before; null where it did not exist. */
  before!: object | null;
  after!: object | null;
  at!: string;
}
