{% set changed = ['fct_sale', 'fct_refund', 'fct_payment'] %}
-- The identity of the till: what sales and refunds say was collected is what the payments say, for each source and
-- business date, to the cent. Not on days before the source's history begins: of a sale refunded later, a till may send
-- the payment, which its refund has changed, and not the order, which has not changed. A source that tells of no payment
-- at all (files of sales alone) has no such identity.
with sides as (

    select
        source_id,
        business_date,
        currency,
        total_collected as collected,
        0 as paid
    from {{ tested_rows(ref('fct_sale'), ['source_id', 'business_date'], changed) }} as fct_sale

    union all

    select
        source_id,
        business_date,
        currency,
        -(
            returns + refund_unitemised + tax_returned + tip_returned + service_charge_returned
            + gratuity_returned + gift_card_returned + donations_returned + rounding_returned
        ) as collected,
        -amount_refunded as paid
    from {{ tested_rows(ref('fct_refund'), ['source_id', 'business_date'], changed) }} as fct_refund

    union all

    select
        source_id,
        business_date,
        currency,
        0 as collected,
        collected as paid
    from {{ tested_rows(ref('fct_payment'), ['source_id', 'business_date'], changed) }} as fct_payment

)

select
    sides.source_id,
    sides.business_date,
    sides.currency,
    sum(sides.collected) as collected,
    sum(sides.paid) as paid
from sides
inner join {{ ref('stg_shard__sources') }} as sources
    on sides.source_id = sources.source_id
where
    (
        sources.history_begins_at is null
        or sides.business_date > (sources.history_begins_at at time zone 'UTC')::date
    )
    and sources.source_id in (select payments.source_id from {{ ref('fct_payment') }} as payments)
group by sides.source_id, sides.business_date, sides.currency
having sum(sides.collected) <> sum(sides.paid)
