{{
    config(
        unique_key=['location_id', 'business_date', 'hour_start', 'currency', 'payment_type'],
        facet=['location_id', 'business_date', 'hour_start'],
    )
}}

select
    location_id,
    business_date,
    hour_start,
    currency,
    payment_type,
    count(*) filter (where collected <> 0) as payment_count,
    sum(amount) as amount,
    sum(tip) as tip,
    sum(collected) as collected,
    sum(deposit) as deposit,
    sum(not_collected) as not_collected,
    sum(processing_fee) as processing_fee
from {{ ref('fct_payment') }}
group by location_id, business_date, hour_start, currency, payment_type
