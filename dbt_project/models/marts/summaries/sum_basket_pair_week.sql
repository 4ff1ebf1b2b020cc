{{
    config(
        unique_key=['location_id', 'week_begins_on', 'item_id_a', 'item_id_b'],
        facet=['location_id', 'week_begins_on'],
        facet_from={
            'fct_sale_item':
                "select location_id, days.week_begins_on
                from changed
                inner join sum_sales_day as days using (location_id, business_date)",
        },
        slice={
            'fct_sale_item':
                "(location_id, business_date) in (
                    select location_id, week_begins_on + n from facets cross join generate_series(0, 6) as days (n)
                )",
        },
    )
}}

with days as (

    select distinct
        location_id,
        business_date,
        week_begins_on
    from {{ ref('sum_sales_day') }}

),

-- What was in each basket, once however often it was ordered; an amount keyed in is no article.
basket_items as (

    select distinct
        lines.sale_id,
        lines.location_id,
        days.week_begins_on,
        lines.item_id
    from {{ ref('fct_sale_item') }} as lines
    inner join days
        on lines.location_id = days.location_id
        and lines.business_date = days.business_date
    where
        lines.line_type = 'item'
        and lines.line_status = 'completed'
        and lines.quantity_sold > 0
        and lines.source_item_id is not null

),

weeks as (

    select
        location_id,
        week_begins_on,
        count(distinct sale_id) as basket_count
    from basket_items
    group by location_id, week_begins_on

),

items as (

    select
        location_id,
        week_begins_on,
        item_id,
        count(*) as basket_count
    from basket_items
    group by location_id, week_begins_on, item_id

),

pairs as (

    select
        items_a.location_id,
        items_a.week_begins_on,
        items_a.item_id as item_id_a,
        items_b.item_id as item_id_b,
        count(*) as pair_basket_count
    from basket_items as items_a
    inner join basket_items as items_b
        on items_a.sale_id = items_b.sale_id
        and items_a.item_id < items_b.item_id
    group by items_a.location_id, items_a.week_begins_on, items_a.item_id, items_b.item_id

)

select
    pairs.location_id,
    pairs.week_begins_on,
    pairs.item_id_a,
    pairs.item_id_b,
    pairs.pair_basket_count,
    items_a.basket_count as item_a_basket_count,
    items_b.basket_count as item_b_basket_count,
    weeks.basket_count,
    round(pairs.pair_basket_count::numeric / weeks.basket_count, 6) as support,
    round(
        pairs.pair_basket_count::numeric * weeks.basket_count / (items_a.basket_count * items_b.basket_count), 6
    ) as lift
from pairs
inner join weeks
    on pairs.location_id = weeks.location_id
    and pairs.week_begins_on = weeks.week_begins_on
inner join items as items_a
    on pairs.location_id = items_a.location_id
    and pairs.week_begins_on = items_a.week_begins_on
    and pairs.item_id_a = items_a.item_id
inner join items as items_b
    on pairs.location_id = items_b.location_id
    and pairs.week_begins_on = items_b.week_begins_on
    and pairs.item_id_b = items_b.item_id
