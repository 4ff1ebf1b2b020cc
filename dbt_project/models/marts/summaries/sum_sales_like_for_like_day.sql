{{
    config(
        unique_key=['location_id', 'business_date', 'currency'],
        facet=['location_id', 'business_date'],
        facet_from={
            'sum_sales_day':
                "select location_id, business_date from changed
                union
                select location_id, business_date + 364 from changed",
        },
        slice={
            'sum_sales_day':
                "(location_id, business_date) in (
                    select location_id, business_date from facets
                    union
                    select location_id, business_date - 364 from facets
                )",
        },
    )
}}

with days as (

    select
        location_id,
        business_date,
        currency,
        business_id,
        week_begins_on,
        order_count,
        net_sales
    from {{ ref('sum_sales_day') }}

),

trading_days as (

    select * from days
    where order_count > 0

),

compared as (

    select
        days.location_id,
        days.business_date,
        days.currency,
        days.business_id,
        days.week_begins_on,
        days.business_date - 364 as business_date_before,
        days.order_count > 0 and days_before.location_id is not null as is_like_for_like,
        days.order_count,
        days_before.order_count as order_count_before,
        days.net_sales,
        days_before.net_sales as net_sales_before
    from days
    left join trading_days as days_before
        on days.location_id = days_before.location_id
        and days.business_date - 364 = days_before.business_date
        and days.currency = days_before.currency

)

-- A percentage of nothing, or of a day on which more was returned than sold, says nothing.
select
    location_id,
    business_date,
    currency,
    business_id,
    week_begins_on,
    business_date_before,
    is_like_for_like,
    order_count,
    order_count_before,
    net_sales,
    net_sales_before,
    case when is_like_for_like then net_sales - net_sales_before end as net_sales_change,
    case
        when is_like_for_like and net_sales_before > 0
            then round((net_sales - net_sales_before) / net_sales_before, 4)
    end as net_sales_change_pct,
    case when is_like_for_like then order_count - order_count_before end as order_count_change,
    case
        when is_like_for_like
            then round((order_count - order_count_before)::numeric / order_count_before, 4)
    end as order_count_change_pct
from compared
