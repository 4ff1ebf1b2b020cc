{% set changed = ['sum_location_day', 'sum_sales_day', 'sum_labour_day', 'fct_ad_spend'] %}
-- Sales, labour and allocated spend of all location days are those of the summaries beside which they stand.
with location_days as (

    select
        location_id,
        currency,
        sum(net_sales) as net_sales,
        sum(total_collected) as total_collected,
        sum(labour_hours) as labour_hours,
        sum(labour_cost) as labour_cost,
        sum(allocated_spend) as allocated_spend
    from {{ tested_rows(ref('sum_location_day'), ['location_id', 'business_date'], changed) }} as sum_location_day
    group by location_id, currency

),

sales as (

    select
        location_id,
        currency,
        sum(net_sales) as net_sales,
        sum(total_collected) as total_collected
    from {{ tested_rows(ref('sum_sales_day'), ['location_id', 'business_date'], changed) }} as sum_sales_day
    group by location_id, currency

),

labour as (

    select
        location_id,
        currency,
        sum(hours) as labour_hours,
        sum(labour_cost) as labour_cost
    from {{ tested_rows(ref('sum_labour_day'), ['location_id', 'business_date'], changed) }} as sum_labour_day
    group by location_id, currency

),

spend as (

    select
        location_id,
        currency,
        sum(spend) as allocated_spend
    from {{ tested_rows(ref('fct_ad_spend'), ['location_id', 'business_date'], changed) }} as fct_ad_spend
    where is_allocated
    group by location_id, currency

)

select
    location_id,
    currency
from location_days
full join sales using (location_id, currency)
full join labour using (location_id, currency)
full join spend using (location_id, currency)
where
    coalesce(location_days.net_sales, 0) <> coalesce(sales.net_sales, 0)
    or coalesce(location_days.total_collected, 0) <> coalesce(sales.total_collected, 0)
    or coalesce(location_days.labour_hours, 0) <> coalesce(labour.labour_hours, 0)
    or coalesce(location_days.labour_cost, 0) <> coalesce(labour.labour_cost, 0)
    or coalesce(location_days.allocated_spend, 0) <> coalesce(spend.allocated_spend, 0)
