-- A coarser facet whose columns the parent has.
{{ config(unique_key=['business_id', 'week_start'], facet=['business_id', 'week_start']) }}
select
    business_id,
    week_start,
    count(*) as location_days,
    sum(net) as net,
    max(net) as best_day
from {{ ref('sales_day') }}
group by 1, 2
