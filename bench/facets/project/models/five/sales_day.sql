select
    business_id,
    location_id,
    business_date,
    date_trunc('week', business_date)::date as week_start,
    count(*) as items,
    count(distinct sale_id) as sales,
    sum(quantity) as quantity,
    sum(net_amount) filter (where not is_voided) as net_amount,
    sum(net_amount) filter (where is_voided) as voided_amount,
    min(sold_at) as first_sold_at,
    max(sold_at) as last_sold_at
from {{ source('till', 'sale_item') }}
{% if is_incremental() -%}
where business_date > date '{{ var("today") }}' - 3
{% endif -%}
group by 1, 2, 3
