import { Injectable } from '@nestjs/common';
import { newId } from '../../kernel/ids';

/** Who holds: the id this process names in holds, PENDING rows and its gateway_process row. New at every start. */
@Injectable()
export class ProcessIdentity {
  readonly id: string = newId();
}
