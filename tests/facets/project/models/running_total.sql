-- A row depends on all earlier ones of its location: the location is the facet.
{{ config(unique_key=['location_id', 'business_date'], facet=['location_id']) }}
select
    location_id,
    business_date,
    net,
    sum(net) over (partition by location_id order by business_date) as net_to_date,
    row_number() over (partition by location_id order by business_date) as days_traded
from {{ ref('sales_day') }}
