import { applyDecorators } from '@nestjs/common';
import { IsString, Length, Matches, ValidateIf } from 'class-validator';

/** A field that may be left out but not be null: leaving out says "unchanged", null would say nothing. */
export function MayBeAbsent(): PropertyDecorator {
  return ValidateIf((_, value: unknown) => value !== undefined);
}

/** For PartialType, which then treats every field as MayBeAbsent does. */
export const CHANGES = { skipNullProperties: false } as const;

/** A name people give: 1–200 characters, no control characters, no blank at either end. */
export function IsGivenName(): PropertyDecorator {
  return applyDecorators(
    IsString(),
    Length(1, 200),
    Matches(/^(?!\s)[^\p{Cc}]*(?<!\s)$/u, {
      message: '$property must not begin or end with a blank or contain control characters',
    }),
  );
}
