import { Controller, Head, HttpCode } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';

/** `HEAD /`: Claude Code asks whether anybody is there before it has a key to show. */
@Controller()
@ApiExcludeController()
export class RootController {
  @Head('/')
  @HttpCode(200)
  isThere(): void {
    // Being answered is the answer.
  }
}
