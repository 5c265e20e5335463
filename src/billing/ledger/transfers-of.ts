/**
 * Joins a row `c` of billing_transaction with its transfers `t`. They were written after it, so months of before are not looked
 * into; by a clock that may have been set back meanwhile, as where another server took over, hence the day.
 */
export const TRANSFERS_OF = `t.transaction_id = c.id and t.created_at >= c.created_at - interval '1 day'`;
