{{
    config(
        materialized='conformed_key_table',
        meta={'feed': {'table': 'feed__item', 'beside': 'keys.item'}},
        facet_from={'int_sale_items__unioned': ''},
    )
}}

-- Recognised by the business's own article number; never by name.
select
    keys.id as source_item_id,
    keys.source_id,
    coalesce(
        nullif(concat_ws(', ', items.item_name, items.variation_name), ''),
        sold.item_name,
        'item ' || keys.natural_key
    ) as name,
    1 as priority,
    'sku' as rule,
    items.sku as match_key
from {{ ref('keys_source_item') }} as keys
left join {{ ref('int_items__unioned') }} as items
    on keys.source_id = items.source_id
    and keys.natural_key = items.natural_key
left join lateral (
    select lines.item_name
    from {{ ref('int_sale_items__unioned') }} as lines
    where lines.source_id = keys.source_id and lines.item_key = keys.natural_key
    order by lines.natural_key desc
    limit 1
) as sold on true
