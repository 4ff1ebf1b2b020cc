select
    items.source_id,
    items.item_key as natural_key,
    items.parent_item_key as root_key,
    items.item_name,
    nullif(items.variation_name, 'Regular') as variation_name,  -- Square's name for the only variation of an item
    categories.category_name,
    items.sku,
    items.list_price,
    items.currency,
    items.is_active
from {{ ref('stg_square__items') }} as items
left join {{ ref('stg_square__categories') }} as categories
    on items.source_id = categories.source_id
    and items.category_key = categories.category_key
