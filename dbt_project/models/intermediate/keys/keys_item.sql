{{ config(materialized='conformed_key_table') }}

-- Recognised by the business's own article number; never by name.
with sold as (

    select
        source_id,
        item_key,
        max(item_name) as item_name
    from {{ ref('int_sale_items__unioned') }}
    where item_key is not null
    group by source_id, item_key

)

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
left join sold
    on keys.source_id = sold.source_id
    and keys.natural_key = sold.item_key
