-- The identity of the till: what sales and refunds say was collected is what the payments say, for each source and
-- business date, to the cent.
with sides as (

    select
        source_id,
        business_date,
        currency,
        total_collected as collected,
        0 as paid
    from {{ ref('fct_sale') }}

    union all

    select
        source_id,
        business_date,
        currency,
        -(
            returns + refund_unitemised + tax_returned + tip_returned + service_charge_returned
            + gratuity_returned + gift_card_returned + rounding_returned
        ) as collected,
        -amount_refunded as paid
    from {{ ref('fct_refund') }}

    union all

    select
        source_id,
        business_date,
        currency,
        0 as collected,
        collected as paid
    from {{ ref('fct_payment') }}

)

select
    source_id,
    business_date,
    currency,
    sum(collected) as collected,
    sum(paid) as paid
from sides
group by source_id, business_date, currency
having sum(collected) <> sum(paid)
