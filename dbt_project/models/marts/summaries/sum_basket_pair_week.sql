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
baskets as (

    select
        lines.sale_id,
        lines.location_id,
        days.week_begins_on,
        array_agg(distinct lines.item_id) as item_ids,
        count(*) over (partition by lines.location_id, days.week_begins_on) as basket_count
    from {{ ref('fct_sale_item') }} as lines
    inner join days
        on lines.location_id = days.location_id
        and lines.business_date = days.business_date
    where
        lines.line_type = 'item'
        and lines.line_status = 'completed'
        and lines.quantity_sold > 0
        and lines.source_item_id is not null
    group by lines.sale_id, lines.location_id, days.week_begins_on

),

-- An article with itself is a pair here, which counts its baskets: so nothing has to be joined. Postgres took joins of
-- baskets with each other and with counts for joins of one row, and looped for 10 minutes over 20 k baskets.
pairs as (

    select
        baskets.location_id,
        baskets.week_begins_on,
        items_a.item_id as item_id_a,
        items_b.item_id as item_id_b,
        baskets.basket_count,
        count(*) as pair_basket_count
    from baskets
    cross join lateral unnest(baskets.item_ids) as items_a (item_id)
    cross join lateral unnest(baskets.item_ids) as items_b (item_id)
    where items_a.item_id <= items_b.item_id
    group by
        baskets.location_id,
        baskets.week_begins_on,
        items_a.item_id,
        items_b.item_id,
        baskets.basket_count

),

counted as (

    select
        *,
        max(pair_basket_count) filter (where item_id_a = item_id_b) over (
            partition by location_id, week_begins_on, item_id_a
        ) as item_a_basket_count,
        max(pair_basket_count) filter (where item_id_a = item_id_b) over (
            partition by location_id, week_begins_on, item_id_b
        ) as item_b_basket_count
    from pairs

)

select
    location_id,
    week_begins_on,
    item_id_a,
    item_id_b,
    pair_basket_count,
    item_a_basket_count,
    item_b_basket_count,
    basket_count,
    round(pair_basket_count::numeric / basket_count, 6) as support,
    round(pair_basket_count::numeric * basket_count / (item_a_basket_count * item_b_basket_count), 6) as lift
from counted
where item_id_a < item_id_b
