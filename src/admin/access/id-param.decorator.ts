import { Param, ParseUUIDPipe } from '@nestjs/common';
import { invalid } from '../refusals';

/** The `{id}` of the path; anything but a UUID is refused before it reaches the database. */
export function IdParam(): ParameterDecorator {
  return Param('id', new ParseUUIDPipe({ exceptionFactory: () => invalid('id', 'must be a UUID') }));
}
