{{
    config(
        unique_key=['location_id', 'week_begins_on', 'item_id_a', 'item_id_b'],
        facet=['location_id', 'week_begins_on'],
        facet_from={'sum_basket_pair_day': weeks_of_changed_days()},
        slice={'sum_basket_pair_day': days_of_weeks()},
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
    pairs.location_id,
    days.week_begins_on,
    pairs.item_id_a,
    pairs.item_id_b,
    sum(pairs.pair_basket_count)::bigint as pair_basket_count
from {{ ref('sum_basket_pair_day') }} as pairs
inner join days
    on pairs.location_id = days.location_id
    and pairs.business_date = days.business_date
group by pairs.location_id, days.week_begins_on, pairs.item_id_a, pairs.item_id_b
