{{
    config(
        unique_key=['location_id', 'month_start', 'currency'],
        facet=['business_id', 'month_start'],
        facet_from={
            'sum_sales_day': "
                select business_id, month_start from changed
                union
                select business_id, date_trunc('month', business_date + 364)::date from changed
                union
                select
                    changed.business_id,
                    date_trunc(
                        'month', comparison.begins_on + (changed.business_date - comparison.compared_with)
                    )::date
                from changed
                inner join keys.comparison as comparison
                    on comparison.business_id = changed.business_id
                    and changed.business_date >= comparison.compared_with
                    and changed.business_date
                        <= comparison.compared_with + case comparison.period when 'week' then 6 else 0 end
            ",
            'keys.comparison': "
                select business_id, date_trunc('month', begins_on)::date as month_start from changed
                union
                select business_id, date_trunc('month', begins_on + 6)::date from changed where period = 'week'
            ",
        },
        slice={
            'sum_sales_day': "
                (business_id, business_date) in (
                    select business_id, month_start + n from facets cross join generate_series(0, 30) as days (n)
                    union
                    select business_id, month_start + n - 364 from facets cross join generate_series(0, 30) as days (n)
                    union
                    select comparison.business_id, comparison.compared_with + n
                    from facets
                    inner join keys.comparison as comparison
                        on comparison.business_id = facets.business_id
                        and comparison.begins_on >= facets.month_start - 6
                        and comparison.begins_on <= facets.month_start + 30
                    cross join generate_series(0, 6) as days (n)
                )
            ",
        },
    )
}}

with sales as (

    select
        location_id,
        business_date,
        currency,
        business_id,
        week_begins_on,
        month_start,
        order_count,
        net_sales
    from {{ ref('sum_sales_day') }}

),

-- A location that trades no more is listed in every month of its business, a year long. All weeks of a business begin on
-- one weekday.
months_of_business as (

    select
        business_id,
        month_start,
        min(extract(isodow from week_begins_on))::integer as first_weekday
    from sales
    group by business_id, month_start

),

days_of_month as (

    select
        months.business_id,
        months.month_start,
        calendar.day::date as business_date,
        calendar.day::date - (extract(isodow from calendar.day)::integer - months.first_weekday + 7) % 7
            as week_begins_on
    from months_of_business as months
    cross join lateral generate_series(
        months.month_start, months.month_start + interval '1 month' - interval '1 day', interval '1 day'
    ) as calendar (day)

),

-- Each day of the month by itself, as in sum_sales_like_for_like_day: they may lie in two months of the year before.
compared_days as (

    select
        days.business_id,
        days.month_start,
        days.business_date,
        coalesce(
            days_decided.compared_with,
            weeks_decided.compared_with + (days.business_date - weeks_decided.begins_on),
            days.business_date - 364
        ) as business_date_before
    from days_of_month as days
    left join {{ ref('stg_shard__comparisons') }} as days_decided
        on days.business_id = days_decided.business_id
        and days.business_date = days_decided.begins_on
        and days_decided.period = 'day'
    left join {{ ref('stg_shard__comparisons') }} as weeks_decided
        on days.business_id = weeks_decided.business_id
        and days.week_begins_on = weeks_decided.begins_on
        and weeks_decided.period = 'week'

),

spans_before as (

    select
        business_id,
        month_start,
        min(business_date_before) as first_date_before,
        max(business_date_before) as last_date_before
    from compared_days
    group by business_id, month_start

),

months as (

    select
        location_id,
        month_start,
        currency,
        business_id,
        count(*) filter (where order_count > 0) as trading_days,
        array_agg(business_date order by business_date) filter (where order_count > 0) as trading_dates,
        sum(order_count)::bigint as order_count,
        sum(net_sales) as net_sales
    from sales
    group by location_id, month_start, currency, business_id

),

-- trading_dates_before are days of this month: those whose counterparts had an order.
months_before as (

    select
        sales.location_id,
        days.month_start,
        sales.currency,
        sales.business_id,
        count(*) filter (where sales.order_count > 0) as trading_days_before,
        array_agg(days.business_date order by days.business_date) filter (
            where sales.order_count > 0
        ) as trading_dates_before,
        sum(sales.order_count)::bigint as order_count_before,
        sum(sales.net_sales) as net_sales_before
    from compared_days as days
    inner join sales
        on days.business_id = sales.business_id
        and days.business_date_before = sales.business_date
    group by sales.location_id, days.month_start, sales.currency, sales.business_id
    having count(*) filter (where sales.order_count > 0) > 0

),

compared as (

    select
        location_id,
        month_start,
        currency,
        coalesce(months.business_id, months_before.business_id) as business_id,
        coalesce(months.trading_days, 0) as trading_days,
        months_before.trading_days_before,
        coalesce(months.trading_dates = months_before.trading_dates_before, false) as is_like_for_like,
        coalesce(months.order_count, 0) as order_count,
        months_before.order_count_before,
        coalesce(months.net_sales, 0) as net_sales,
        months_before.net_sales_before
    from months
    full join months_before using (location_id, month_start, currency)

)

select
    compared.location_id,
    compared.month_start,
    compared.currency,
    compared.business_id,
    spans_before.first_date_before,
    spans_before.last_date_before,
    compared.trading_days,
    compared.trading_days_before,
    compared.is_like_for_like,
    case
        when compared.is_like_for_like then null
        when compared.trading_days = 0 then 'no trade this month'
        when compared.trading_days_before is null then 'no trade a year before'
        else 'other days traded'
    end as excluded_because,
    case when compared.is_like_for_like then 0 else 1 end as excluded_locations,
    compared.order_count,
    compared.order_count_before,
    compared.net_sales,
    compared.net_sales_before,
    case when compared.is_like_for_like then compared.order_count else 0 end as like_for_like_order_count,
    case when compared.is_like_for_like then compared.order_count_before else 0 end as like_for_like_order_count_before,
    case when compared.is_like_for_like then compared.net_sales else 0 end as like_for_like_net_sales,
    case when compared.is_like_for_like then compared.net_sales_before else 0 end as like_for_like_net_sales_before,
    case when compared.is_like_for_like then compared.net_sales - compared.net_sales_before end as net_sales_change,
    case
        when compared.is_like_for_like and compared.net_sales_before > 0
            then round((compared.net_sales - compared.net_sales_before) / compared.net_sales_before, 4)
    end as net_sales_change_pct
from compared
inner join spans_before
    on compared.business_id = spans_before.business_id
    and compared.month_start = spans_before.month_start
