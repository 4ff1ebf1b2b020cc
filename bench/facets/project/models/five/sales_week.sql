select
    business_id,
    week_start,
    sum(sales) as sales,
    sum(net_amount) as net_amount,
    max(net_amount) as best_location_day
from {{ ref('sales_day') }}
{% if is_incremental() -%}
where week_start >= date_trunc('week', date '{{ var("today") }}' - 2)::date
{% endif -%}
group by 1, 2
