-- Three feeds of one facet; each side may be missing.
{{ config(unique_key=['location_id', 'business_date'], facet=['location_id', 'business_date']) }}
with sales as (
    select location_id, business_date, net from {{ ref('sales_day') }}
),

labour as (
    select location_id, business_date, sum(hours) as hours, sum(cost) as cost, count(*) as shifts
    from {{ ref('fct_shift') }}
    group by 1, 2
),

spend as (
    select location_id, business_date, sum(amount) as spend, count(*) as channels
    from {{ source('raw', 'spend') }}
    group by 1, 2
)

select
    location_id,
    business_date,
    calendar.is_weekend,
    sales.net,
    labour.hours,
    labour.cost,
    labour.shifts,
    spend.spend,
    spend.channels,
    round(labour.cost / nullif(sales.net, 0), 6) as labour_share
from sales
full join labour using (location_id, business_date)
full join spend using (location_id, business_date)
left join {{ ref('calendar') }} as calendar using (business_date)
