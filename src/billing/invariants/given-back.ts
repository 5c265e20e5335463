/** Part of I3: what is given back of a charge is what linked transactions moved, never more than it took. */
export const GIVEN_BACK_VIOLATIONS = `
      select 'charge ' || b.id || ' has ' || b.refunded_nano_usd || ' given back of ' || b.amount_nano_usd
             || ', its refunds and credit notes are ' || coalesce(g.amount, 0) as what
        from billing_transaction b
        left join (
          select original_transaction_id as id, sum(amount_nano_usd) as amount from billing_transaction
           where type in ('refund', 'credit_note') group by 1) g on g.id = b.id
       where b.type in ('charge', 'correction')
         and (b.refunded_nano_usd <> coalesce(g.amount, 0) or b.refunded_nano_usd > b.amount_nano_usd)
      union all
      select 'charge ' || b.id || ' is reversed by ' || coalesce(b.reversed_by::text, 'nothing') || ', though '
             || b.refunded_nano_usd || ' are given back of ' || b.amount_nano_usd
        from billing_transaction b
       where b.type in ('charge', 'correction')
         and (b.reversed_by is null and b.refunded_nano_usd > 0 and b.refunded_nano_usd = b.amount_nano_usd
              or b.reversed_by is not null and b.refunded_nano_usd <> b.amount_nano_usd)
      union all
      select g.type || ' ' || g.id || ' belongs to no committed charge of its tenant'
        from billing_transaction g
        left join billing_transaction b on b.id = g.original_transaction_id and b.tenant_id = g.tenant_id
             and b.type in ('charge', 'correction') and b.status = 'COMMITTED'
       where g.type in ('refund', 'credit_note') and b.id is null
      union all
      select g.type || ' ' || g.id || ' is of ' || g.amount_nano_usd || ', its transfers give back ' || coalesce(m.amount, 0)
        from billing_transaction g
        left join (
          select transaction_id, kind, sum(amount_nano_usd) as amount from ledger_transfer
           where kind in ('refund', 'credit_note') group by 1, 2) m on m.transaction_id = g.id and m.kind = g.type
       where g.type in ('refund', 'credit_note') and g.amount_nano_usd <> coalesce(m.amount, 0)
         and g.ended_at >= ledger_begins_at()
      union all
      select 'a transfer of kind ' || t.kind || ' belongs to the unknown transaction ' || t.transaction_id
        from ledger_transfer t
        left join billing_transaction g on g.id = t.transaction_id and g.type = t.kind
       where t.kind in ('refund', 'credit_note') and g.id is null`;
