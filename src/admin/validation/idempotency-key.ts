import { invalid } from '../refusals';

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

/** What a posting is known by, from the header of an administrator: apart from the keys the product makes itself. */
export function administratorsKey(header: string | undefined): string {
  if (header === undefined || !IDEMPOTENCY_KEY.test(header)) {
    throw invalid('Idempotency-Key', 'the header must be sent: 1 to 255 printable characters without blanks');
  }
  return `admin:${header}`;
}
