{{ config(unique_key=['item_id']) }}

with articles as (

    select
        item_map.item_id,
        items.*,
        row_number() over (
            partition by item_map.item_id
            order by items.is_active desc, (item_map.rule = 'itself') desc, keys.id
        ) as preference
    from {{ ref('keys_item_map') }} as item_map
    inner join {{ ref('keys_source_item') }} as keys
        on item_map.source_item_id = keys.id
    inner join {{ ref('int_items__unioned') }} as items
        on keys.source_id = items.source_id
        and keys.natural_key = items.natural_key
    where item_map.valid_to = 'infinity'

)

select
    items.id as item_id,
    items.parent_id as business_id,
    coalesce(articles.item_name, items.name) as item_name,
    articles.variation_name,
    articles.category_name,
    articles.sku,
    articles.list_price,
    articles.currency::text as currency,
    coalesce(articles.is_active, false) as is_active,
    articles.item_id is not null as is_in_catalogue
from {{ ref('keys_item') }} as items
left join articles
    on items.id = articles.item_id
    and articles.preference = 1

union all

-- Lines without an article (an amount keyed in) refer to number 0 of their business.
select
    business_id as item_id,
    business_id,
    'no article' as item_name,
    null as variation_name,
    null as category_name,
    null as sku,
    null as list_price,
    null as currency,
    false as is_active,
    false as is_in_catalogue
from {{ ref('stg_shard__businesses') }}
