{% set changed = ['fct_refund_item', 'fct_refund'] %}
-- What is itemised on a refund is the sum of its returned lines, and the parts of a refund are the money given back.
with lines as (

    select
        refund_id,
        sum(returns) as returns,
        sum(gift_card_returned) as gift_card_returned,
        sum(donations_returned) as donations_returned
    from {{ tested_rows(ref('fct_refund_item'), ['source_id', 'root_key'], changed) }} as fct_refund_item
    group by refund_id

)

select
    refunds.refund_id,
    refunds.returns,
    lines.returns as returns_of_lines,
    refunds.amount_refunded
from {{ tested_rows(ref('fct_refund'), ['source_id', 'root_key'], changed) }} as refunds
left join lines
    on refunds.refund_id = lines.refund_id
where
    refunds.returns <> coalesce(lines.returns, 0)
    or refunds.gift_card_returned <> coalesce(lines.gift_card_returned, 0)
    or refunds.donations_returned <> coalesce(lines.donations_returned, 0)
    or refunds.amount_refunded
    <> refunds.returns + refunds.refund_unitemised
    + refunds.tax_returned + refunds.tip_returned
    + refunds.service_charge_returned + refunds.gratuity_returned
    + refunds.gift_card_returned + refunds.donations_returned + refunds.rounding_returned
