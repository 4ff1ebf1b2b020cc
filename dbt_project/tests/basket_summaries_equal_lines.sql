{% set changed = ['fct_sale_item', 'sum_basket_day', 'sum_basket_pair_day'] %}
-- Every article of every basket is in its day once, and in the pairs with itself once.
with articles as (

    select distinct
        location_id,
        business_date,
        sale_id,
        item_id
    from {{ tested_rows(ref('fct_sale_item'), ['location_id', 'business_date'], changed) }} as fct_sale_item
    where
        line_type = 'item'
        and line_status = 'completed'
        and quantity_sold > 0
        and source_item_id is not null

),

counted as (

    select
        location_id,
        business_date,
        count(distinct sale_id) as basket_count,
        count(*) as article_count
    from articles
    group by location_id, business_date

),

pairs as (

    select
        location_id,
        business_date,
        sum(pair_basket_count) filter (where item_id_a = item_id_b) as article_count
    from {{ tested_rows(ref('sum_basket_pair_day'), ['location_id', 'business_date'], changed) }} as sum_basket_pair_day
    group by location_id, business_date

)

select
    location_id,
    business_date,
    counted.basket_count as baskets,
    baskets.basket_count as baskets_of_day,
    counted.article_count as articles,
    baskets.article_count as articles_of_day,
    pairs.article_count as articles_of_pairs
from counted
full join {{ tested_rows(ref('sum_basket_day'), ['location_id', 'business_date'], changed) }} as baskets
    using (location_id, business_date)
full join pairs using (location_id, business_date)
where
    counted.basket_count is distinct from baskets.basket_count
    or counted.article_count is distinct from baskets.article_count
    or counted.article_count is distinct from pairs.article_count
