import { Injectable, ValidationPipe, type ValidationError } from '@nestjs/common';
import { refuse, RefusalError } from '../../kernel/errors';

/**
 * For controllers of the control plane (`@UsePipes(ControlPlaneValidationPipe)`): what a DTO does not name is refused,
 * so that no caller sets a role, a tenant or a balance by guessing a field. Never on /v1, which keeps unknown fields.
 */
@Injectable()
export class ControlPlaneValidationPipe extends ValidationPipe {
  constructor() {
    super({
      whitelist: true,
      forbidNonWhitelisted: true,
      transform: true,
      stopAtFirstError: true,
      exceptionFactory: (errors) => {
        const problems = errors.flatMap((error) => problemsOf(error, ''));
        const reason = problems.map(({ message }) => message).join('; ');
        const param = problems[0]?.path;
        return new RefusalError(
          refuse('INVALID_REQUEST', { ...(param === undefined ? {} : { param }), values: { reason } }),
        );
      },
    });
  }
}

function problemsOf(error: ValidationError, parent: string): { path: string; message: string }[] {
  const isIndex = /^\d+$/.test(error.property);
  const path =
    parent === '' ? error.property : isIndex ? `${parent}[${error.property}]` : `${parent}.${error.property}`;
  const own = Object.values(error.constraints ?? {}).map((message) => ({ path, message }));
  return [...own, ...(error.children ?? []).flatMap((child) => problemsOf(child, path))];
}
