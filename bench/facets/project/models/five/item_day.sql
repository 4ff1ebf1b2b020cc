select
    location_id,
    business_date,
    menu_item_id,
    sum(quantity) as quantity,
    sum(net_amount) as net_amount,
    round(
        sum(net_amount) / nullif(sum(sum(net_amount)) over (partition by location_id, business_date), 0), 6
    ) as share_of_day
from {{ source('till', 'sale_item') }}
where
    not is_voided
    {%- if is_incremental() %}
    and business_date > date '{{ var("today") }}' - 3
    {%- endif %}
group by 1, 2, 3
