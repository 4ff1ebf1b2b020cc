{% set changed = ['sum_sales_like_for_like_month'] %}
-- A month is the sum of its days, and one that is like for like has no other days of trade than such that are.
with months as (

    select *
    from {{ tested_rows(ref('sum_sales_like_for_like_month'), ['business_id', 'month_start'], changed) }} as months

),

days as (

    select
        months.location_id,
        months.month_start,
        months.currency,
        count(*) filter (where days.order_count > 0) as trading_days,
        count(*) filter (where days.is_like_for_like) as like_for_like_days,
        sum(days.order_count) as order_count,
        sum(days.order_count_before) filter (where days.is_like_for_like) as order_count_before,
        sum(days.net_sales) as net_sales
    from months
    inner join {{ ref('sum_sales_like_for_like_day') }} as days
        on months.location_id = days.location_id
        and months.currency = days.currency
        and months.month_start <= days.business_date
        and months.month_start + interval '1 month' > days.business_date
    group by months.location_id, months.month_start, months.currency

)

select
    location_id,
    month_start,
    currency
from months
left join days using (location_id, month_start, currency)
where
    months.trading_days <> coalesce(days.trading_days, 0)
    or months.order_count <> coalesce(days.order_count, 0)
    or months.net_sales <> coalesce(days.net_sales, 0)
    or (
        months.is_like_for_like
        and (
            months.trading_days <> days.like_for_like_days
            or months.trading_days_before <> days.like_for_like_days
            or months.order_count_before <> days.order_count_before
        )
    )
