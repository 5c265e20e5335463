import { applyDecorators, Controller, UseGuards } from '@nestjs/common';
import { ApiBearerAuth, ApiResponse, ApiTags } from '@nestjs/swagger';
import { AdminGuard } from './admin.guard';

/**
 * A controller of the control plane: below /admin/v1, closed to everybody but administrators. No controller of this
 * folder is declared any other way (a test walks the routes).
 */
export function AdminController(path: string, tag: string): ClassDecorator {
  return applyDecorators(
    Controller(path === '' ? 'admin/v1' : `admin/v1/${path}`),
    UseGuards(AdminGuard),
    ApiTags(tag),
    ApiBearerAuth('admin'),
    ApiResponse({ status: 400, description: 'A field is wrong; `error.param` names it.' }),
    ApiResponse({ status: 401, description: 'No or wrong admin token.' }),
  );
}
