import { Param, ParseUUIDPipe } from '@nestjs/common';
import { invalid } from '../refusals';

/** The `{id}` of the path, or another part of it; anything but a UUID is refused before it reaches the database. */
export function IdParam(name = 'id'): ParameterDecorator {
  return Param(name, new ParseUUIDPipe({ exceptionFactory: () => invalid(name, 'must be a UUID') }));
}
