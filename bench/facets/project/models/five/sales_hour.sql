select
    location_id,
    business_date,
    business_hour,
    count(distinct sale_id) as sales,
    sum(net_amount) as net_amount,
    percentile_disc(0.5) within group (order by net_amount) as median_net_amount
from {{ source('till', 'sale_item') }}
where
    not is_voided
    {%- if is_incremental() %}
    and business_date > date '{{ var("today") }}' - 3
    {%- endif %}
group by 1, 2, 3
