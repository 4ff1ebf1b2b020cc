{{
    config(
        unique_key=['location_id', 'business_date', 'currency'],
        facet=['location_id', 'business_date'],
        facet_from={
            'sum_sales_day': "
                select location_id, business_date from changed
                union
                select location_id, business_date + 364 from changed
                union
                select changed.location_id, comparison.begins_on + (changed.business_date - comparison.compared_with)
                from changed
                inner join keys.comparison as comparison
                    on keys.business_of(comparison.business_id) = keys.business_of(changed.location_id)
                    and changed.business_date >= comparison.compared_with
                    and changed.business_date
                        <= comparison.compared_with + case comparison.period when 'week' then 6 else 0 end
            ",
            'keys.comparison': "
                select days.location_id, days.business_date
                from changed
                inner join sum_sales_day as days
                    on days.business_id = changed.business_id
                    and days.business_date >= changed.begins_on
                    and days.business_date <= changed.begins_on + case changed.period when 'week' then 6 else 0 end
            ",
        },
        slice={
            'sum_sales_day': "
                (location_id, business_date) in (
                    select location_id, business_date from facets
                    union
                    select location_id, business_date - 364 from facets
                    union
                    select facets.location_id, comparison.compared_with + (facets.business_date - comparison.begins_on)
                    from facets
                    inner join keys.comparison as comparison
                        on keys.business_of(comparison.business_id) = keys.business_of(facets.location_id)
                        and facets.business_date >= comparison.begins_on
                        and facets.business_date
                            <= comparison.begins_on + case comparison.period when 'week' then 6 else 0 end
                )
            ",
        },
    )
}}

with days as (

    select
        sales.location_id,
        sales.business_date,
        sales.currency,
        sales.business_id,
        sales.week_begins_on,
        coalesce(
            days_decided.compared_with,
            weeks_decided.compared_with + (sales.business_date - weeks_decided.begins_on),
            sales.business_date - 364
        ) as business_date_before,
        sales.order_count,
        sales.net_sales
    from {{ ref('sum_sales_day') }} as sales
    left join {{ ref('stg_shard__comparisons') }} as days_decided
        on sales.business_id = days_decided.business_id
        and sales.business_date = days_decided.begins_on
        and days_decided.period = 'day'
    left join {{ ref('stg_shard__comparisons') }} as weeks_decided
        on sales.business_id = weeks_decided.business_id
        and sales.week_begins_on = weeks_decided.begins_on
        and weeks_decided.period = 'week'

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
        days.business_date_before,
        days.order_count > 0 and days_before.location_id is not null as is_like_for_like,
        days.order_count,
        days_before.order_count as order_count_before,
        days.net_sales,
        days_before.net_sales as net_sales_before
    from days
    left join trading_days as days_before
        on days.location_id = days_before.location_id
        and days.business_date_before = days_before.business_date
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
