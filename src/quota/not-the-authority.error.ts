import { QuotaUnavailableError } from './quota-store.port';

/** Another store decides now, or this one in another epoch. Nothing was changed: read anew who does, and ask there. */
export class NotTheAuthorityError extends QuotaUnavailableError {
  constructor() {
    super('another store decides over quota now');
  }
}
