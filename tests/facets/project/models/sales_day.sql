{{ config(
    unique_key=['location_id', 'business_date'],
    facet=['location_id', 'business_date'],
    indexes=[{'columns': ['business_id', 'week_start']}],
) }}
select
    business_id,
    location_id,
    business_date,
    date_trunc('week', business_date)::date as week_start,
    sum(sales) as sales_in_hours,
    sum(quantity) as quantity,
    sum(net) as net,
    max(net) as best_hour
from {{ ref('sales_hour') }}
group by 1, 2, 3
