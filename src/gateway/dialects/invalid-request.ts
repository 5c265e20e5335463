import { refuse, type Refusal } from '../../kernel/errors';

/** A refusal that names the field (`messages[3].role`; none for the body as a whole) and says what is wrong with it. */
export function invalid(param: string | undefined, reason: string): Refusal {
  return refuse('INVALID_REQUEST', { ...(param === undefined ? {} : { param }), values: { reason } });
}

export function isRefusal(value: object): value is Refusal {
  return 'code' in value;
}
