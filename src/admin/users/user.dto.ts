import { OmitType, PartialType } from '@nestjs/swagger';
import { IsIn, IsOptional, IsUUID } from 'class-validator';
import { USER_STATUSES, type UserStatus } from '../../auth/tenant-user.entity';
import { PageQuery } from '../paging/page-query.dto';
import { CHANGES, IsCountLimit, IsGivenName, MayBeAbsent } from '../validation/fields.decorator';

export class CreateUserDto {
  @IsUUID()
  tenant_id!: string;

  @IsGivenName()
  name!: string;

  /** What the tenant itself calls the user; unique within the tenant. */
  @IsOptional()
  @IsGivenName()
  external_id?: string | null;

  /** Requests in 60 seconds, whatever group and override say; null is unlimited. */
  @IsCountLimit()
  rpm_limit?: number | null;
}

/** Only what is named changes. */
export class UpdateUserDto extends PartialType(OmitType(CreateUserDto, ['tenant_id']), CHANGES) {
  /** A suspended user's keys are refused. */
  @MayBeAbsent()
  @IsIn(USER_STATUSES)
  status?: UserStatus;
}

export class UserQuery extends PageQuery {
  @MayBeAbsent()
  @IsUUID()
  tenant_id?: string;

  @MayBeAbsent()
  @IsGivenName()
  external_id?: string;

  @MayBeAbsent()
  @IsIn(USER_STATUSES)
  status?: UserStatus;
}

export class UserDto {
  id!: string;
  object!: 'user';
  tenant_id!: string;
  name!: string;
  external_id!: string | null;
  status!: UserStatus;
  /** Null is unlimited. */
  rpm_limit!: number | null;
  created_at!: string;
  updated_at!: string;
}
