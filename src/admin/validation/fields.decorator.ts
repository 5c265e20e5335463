import { applyDecorators } from '@nestjs/common';
import { ApiPropertyOptional } from '@nestjs/swagger';
import {
  IsInt,
  IsISO8601,
  IsNotIn,
  IsOptional,
  IsString,
  Length,
  Matches,
  Max,
  Min,
  ValidateIf,
} from 'class-validator';
import { OWN_REASON_CODE } from '../../billing/ledger/reason-codes';

/** Far above any real limit, far below what a double counts exactly; the database has the same bound. */
export const MAX_COUNT = 1_000_000_000_000;

/** A time without a zone would mean another instant on another machine. */
const NAMES_ITS_ZONE = /(Z|[+-]\d{2}:?\d{2})$/;

/** A field that may be left out but not be null: leaving out says "unchanged", null would say nothing. */
export function MayBeAbsent(): PropertyDecorator {
  return ValidateIf((_, value: unknown) => value !== undefined);
}

/** For PartialType, which then treats every field as MayBeAbsent does. */
export const CHANGES = { skipNullProperties: false } as const;

/** A name people give: 1–200 characters, no control characters, no blank at either end. */
export function IsGivenName(): PropertyDecorator {
  return givenName(false);
}

/** Each of a list is one. */
export function IsGivenNames(): PropertyDecorator {
  return givenName(true);
}

function givenName(each: boolean): PropertyDecorator {
  return applyDecorators(
    IsString({ each }),
    Length(1, 200, { each }),
    Matches(/^(?!\s)[^\p{Cc}]*(?<!\s)$/u, {
      each,
      message: '$property must not begin or end with a blank or contain control characters',
    }),
  );
}

/** A limit of requests, tokens or calls at once, which may be left out; null is unlimited. */
export function IsCountLimit(): PropertyDecorator {
  return applyDecorators(
    IsOptional(),
    IsInt(),
    Max(MAX_COUNT),
    Min(0),
    ApiPropertyOptional({ type: 'integer', minimum: 0, maximum: MAX_COUNT, nullable: true }),
  );
}

/** An instant as RFC 3339 with its zone. */
export function IsInstant(): PropertyDecorator {
  return applyDecorators(
    IsISO8601({ strict: true }),
    Matches(NAMES_ITS_ZONE, { message: '$property must name its zone, such as 2027-01-01T00:00:00Z' }),
  );
}

/** A stable word for reports, such as `GOODWILL`; not one that the product writes by itself. */
export function IsReasonCode(): PropertyDecorator {
  return applyDecorators(
    IsNotIn(Object.values(OWN_REASON_CODE), { message: '$property must not be one that Tollgate writes by itself' }),
    Matches(/^[A-Za-z][A-Za-z0-9_]{0,63}$/, {
      message: '$property must be a word of letters, digits and underscores, such as GOODWILL',
    }),
  );
}
