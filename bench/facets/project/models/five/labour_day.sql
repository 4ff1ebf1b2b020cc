with sales as (
    select location_id, business_date, net_amount
    from {{ ref('sales_day') }}
    {%- if is_incremental() %}
    where business_date > date '{{ var("today") }}' - 3
    {%- endif %}
),

labour as (
    select location_id, business_date, sum(hours) as hours, sum(cost) as cost
    from {{ source('till', 'shift') }}
    {%- if is_incremental() %}
    where business_date > date '{{ var("today") }}' - 3
    {%- endif %}
    group by 1, 2
)

select
    location_id,
    business_date,
    sales.net_amount,
    labour.hours,
    labour.cost,
    round(labour.cost / nullif(sales.net_amount, 0), 4) as labour_share
from sales
full join labour using (location_id, business_date)
