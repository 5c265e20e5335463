import { applyDecorators, Controller, UseGuards, UsePipes } from '@nestjs/common';
import { ApiBearerAuth, ApiResponse, ApiTags } from '@nestjs/swagger';
import { ControlPlaneValidationPipe } from '../../platform/http/control-plane-validation.pipe';
import { AdminGuard } from './admin.guard';

/**
 * A controller of the control plane: below /admin/v1, closed to everybody but administrators. No controller of this
 * folder is declared any other way (a test walks the routes).
 */
export function AdminController(path: string, tag: string): ClassDecorator {
  return applyDecorators(
    Controller(path === '' ? 'admin/v1' : `admin/v1/${path}`),
    UseGuards(AdminGuard),
    UsePipes(ControlPlaneValidationPipe),
    ApiTags(tag),
    ApiBearerAuth('admin'),
    ApiResponse({ status: 400, description: 'A field is wrong; `error.param` names it.' }),
    ApiResponse({ status: 401, description: 'No or wrong admin token.' }),
  );
}
