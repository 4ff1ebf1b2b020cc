{{
    config(
        unique_key=['location_id', 'week_begins_on'],
        facet=['location_id', 'week_begins_on'],
        facet_from={'sum_basket_day': weeks_of_changed_days()},
        slice={'sum_basket_day': days_of_weeks()},
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
