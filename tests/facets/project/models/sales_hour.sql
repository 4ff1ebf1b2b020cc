{{ config(
    unique_key=['location_id', 'business_date', 'hour'],
    facet=['location_id', 'business_date', 'hour'],
) }}
select
    business_id,
    location_id,
    business_date,
    hour,
    count(distinct sale_id) as sales,
    sum(quantity) as quantity,
    sum(net) as net
from {{ ref('fct_line') }}
where not is_void
group by 1, 2, 3, 4
