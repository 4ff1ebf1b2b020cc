{{
    config(
        unique_key=['location_id', 'business_date'],
        facet=['location_id', 'business_date'],
    )
}}

with baskets as (

    {{ baskets(ref('fct_sale_item')) }}

)

select
    location_id,
    business_date,
    count(*) as basket_count,
    sum(cardinality(item_ids)) as article_count
from baskets
group by location_id, business_date
