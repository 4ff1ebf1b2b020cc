{{
    config(
        unique_key=['location_id', 'business_date', 'item_id_a', 'item_id_b'],
        facet=['location_id', 'business_date'],
    )
}}

with baskets as (

    {{ baskets(ref('fct_sale_item')) }}

)

select
    baskets.location_id,
    baskets.business_date,
    items_a.item_id as item_id_a,
    items_b.item_id as item_id_b,
    count(*) as pair_basket_count
from baskets
cross join lateral unnest(baskets.item_ids) as items_a (item_id)
cross join lateral unnest(baskets.item_ids) as items_b (item_id)
where items_a.item_id <= items_b.item_id
group by baskets.location_id, baskets.business_date, items_a.item_id, items_b.item_id
