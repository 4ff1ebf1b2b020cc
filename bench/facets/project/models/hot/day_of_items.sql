select
    location_id,
    business_date,
    menu_item_id,
    sum(quantity) as quantity,
    sum(net_amount) as net_amount
from {{ ref('hour_of_items') }}
group by 1, 2, 3
