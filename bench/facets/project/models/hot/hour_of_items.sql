select
    location_id,
    business_date,
    business_hour,
    menu_item_id,
    sum(quantity) as quantity,
    sum(net_amount) as net_amount
from {{ source('till', 'sale_item') }}
where not is_voided
group by 1, 2, 3, 4
