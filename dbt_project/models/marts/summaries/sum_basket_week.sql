{{
    config(
        unique_key=['location_id', 'week_begins_on'],
        facet=['location_id', 'week_begins_on'],
        facet_from={
            'sum_basket_day':
                "select location_id, days.week_begins_on
                from changed
                inner join sum_sales_day as days using (location_id, business_date)",
        },
        slice={
            'sum_basket_day':
                "(location_id, business_date) in (
                    select location_id, week_begins_on + n from facets cross join generate_series(0, 6) as days (n)
                )",
        },
    )
}}

-- A day with a basket is a day of sum_sales_day, which knows its week.
with days as (

    select distinct
        location_id,
        business_date,
        week_begins_on
    from {{ ref('sum_sales_day') }}

)

select
    basket_days.location_id,
    days.week_begins_on,
    sum(basket_days.basket_count)::bigint as basket_count,
    sum(basket_days.article_count)::bigint as article_count
from {{ ref('sum_basket_day') }} as basket_days
inner join days
    on basket_days.location_id = days.location_id
    and basket_days.business_date = days.business_date
group by basket_days.location_id, days.week_begins_on
