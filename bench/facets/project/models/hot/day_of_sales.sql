select
    business_id,
    location_id,
    business_date,
    sum(items) as items,
    sum(sales) as sales,  -- a sale lies in one hour
    sum(quantity) as quantity,
    sum(net_amount) as net_amount,
    sum(voided_amount) as voided_amount,
    min(first_sold_at) as first_sold_at,
    max(last_sold_at) as last_sold_at
from {{ ref('hour_of_sales') }}
group by 1, 2, 3
