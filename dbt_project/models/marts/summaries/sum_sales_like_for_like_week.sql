{{
    config(
        unique_key=['location_id', 'week_begins_on', 'currency'],
        facet=['business_id', 'week_begins_on'],
        facet_from={
            'sum_sales_week': "
                select business_id, week_begins_on from changed
                union
                select business_id, week_begins_on + 364 from changed
                union
                select comparison.business_id, comparison.begins_on
                from changed
                inner join keys.comparison as comparison
                    on comparison.business_id = changed.business_id
                    and comparison.compared_with = changed.week_begins_on
            ",
            'keys.comparison': "select business_id, begins_on as week_begins_on from changed where period = 'week'",
        },
        slice={
            'sum_sales_week': "
                (business_id, week_begins_on) in (
                    select business_id, week_begins_on from facets
                    union
                    select business_id, week_begins_on - 364 from facets
                    union
                    select comparison.business_id, comparison.compared_with
                    from facets
                    inner join keys.comparison as comparison
                        on comparison.business_id = facets.business_id
                        and comparison.begins_on = facets.week_begins_on
                )
            ",
        },
        indexes=[{'columns': ['business_id', 'week_begins_on']}],
    )
}}

with weeks as (

    select
        sales.location_id,
        sales.week_begins_on,
        sales.currency,
        sales.business_id,
        coalesce(decided.compared_with, sales.week_begins_on - 364) as week_begins_on_before,
        sales.trading_weekdays,
        sales.order_count,
        sales.net_sales
    from {{ ref('sum_sales_week') }} as sales
    left join {{ ref('stg_shard__comparisons') }} as decided
        on sales.business_id = decided.business_id
        and sales.week_begins_on = decided.begins_on
        and decided.period = 'week'

),

-- A location that trades no more is listed in every week of its business, a year long.
weeks_of_business as (

    select distinct
        business_id,
        week_begins_on,
        week_begins_on_before
    from weeks

),

weeks_before as (

    select
        weeks.location_id,
        weeks_of_business.week_begins_on,
        weeks_of_business.week_begins_on_before,
        weeks.currency,
        weeks.business_id,
        weeks.trading_weekdays as trading_weekdays_before,
        weeks.order_count as order_count_before,
        weeks.net_sales as net_sales_before
    from weeks
    inner join weeks_of_business
        on weeks.business_id = weeks_of_business.business_id
        and weeks.week_begins_on = weeks_of_business.week_begins_on_before
    where weeks.trading_weekdays is not null

),

compared as (

    select
        location_id,
        week_begins_on,
        currency,
        coalesce(weeks.business_id, weeks_before.business_id) as business_id,
        coalesce(weeks.week_begins_on_before, weeks_before.week_begins_on_before) as week_begins_on_before,
        weeks.trading_weekdays,
        weeks_before.trading_weekdays_before,
        coalesce(weeks.trading_weekdays = weeks_before.trading_weekdays_before, false) as is_like_for_like,
        coalesce(weeks.order_count, 0) as order_count,
        weeks_before.order_count_before,
        coalesce(weeks.net_sales, 0) as net_sales,
        weeks_before.net_sales_before
    from weeks
    full join weeks_before using (location_id, week_begins_on, currency)

)

select
    location_id,
    week_begins_on,
    currency,
    business_id,
    week_begins_on_before,
    trading_weekdays,
    trading_weekdays_before,
    is_like_for_like,
    case
        when is_like_for_like then null
        when trading_weekdays is null then 'no trade this week'
        when trading_weekdays_before is null then 'no trade a year before'
        else 'other weekdays traded'
    end as excluded_because,
    case when is_like_for_like then 0 else 1 end as excluded_locations,
    order_count,
    order_count_before,
    net_sales,
    net_sales_before,
    case when is_like_for_like then order_count else 0 end as like_for_like_order_count,
    case when is_like_for_like then order_count_before else 0 end as like_for_like_order_count_before,
    case when is_like_for_like then net_sales else 0 end as like_for_like_net_sales,
    case when is_like_for_like then net_sales_before else 0 end as like_for_like_net_sales_before,
    case when is_like_for_like then net_sales - net_sales_before end as net_sales_change,
    case
        when is_like_for_like and net_sales_before > 0
            then round((net_sales - net_sales_before) / net_sales_before, 4)
    end as net_sales_change_pct
from compared
