import { OWN_REASON_CODE } from '../ledger/reason-codes';

/**
 * What a charge `c` comes to by the price that rated it last: its amount, less the credit notes and more the debits
 * (adjustments below 0) of re-ratings. Refunds are no matter of its price.
 */
export const RATED_NANO_USD = `
  (c.amount_nano_usd - coalesce((
     select sum(l.amount_nano_usd) from billing_transaction l
      where l.original_transaction_id = c.id and l.type in ('credit_note', 'adjustment')
        and l.reason_code = '${OWN_REASON_CODE.reRated}'), 0))::bigint`;

/** Whether a refund gave back the last of a charge `c`: then nobody pays for that call, however it is rated. */
export const IS_REFUNDED = `
  exists (select from billing_transaction l where l.id = c.reversed_by and l.type = 'refund')`;
