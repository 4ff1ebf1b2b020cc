{{
    config(
        unique_key=['location_id', 'business_date', 'payment_type', 'currency'],
        facet=['location_id', 'business_date'],
    )
}}

with tenders as (

    select
        location_id,
        business_date,
        payment_type,
        currency,
        count(*) filter (where payment_status = 'completed') as payment_count,
        sum(amount) as amount,
        sum(tip) as tip,
        sum(collected) as collected,
        sum(deposit) as deposit,
        sum(not_collected) as not_collected,
        sum(processing_fee) as processing_fee,
        coalesce(sum(collected) filter (where processing_fee is not null), 0) as collected_with_fee
    from {{ ref('fct_payment') }}
    group by location_id, business_date, payment_type, currency

)

select
    location_id,
    business_date,
    payment_type,
    currency,
    payment_count,
    amount,
    tip,
    collected,
    deposit,
    not_collected,
    processing_fee,
    collected_with_fee,
    round(processing_fee / nullif(collected_with_fee, 0), 4) as processing_fee_pct
from tenders
