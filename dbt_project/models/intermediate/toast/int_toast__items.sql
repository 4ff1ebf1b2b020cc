select
    source_id,
    item_key as natural_key,
    item_name,
    null as variation_name,
    item_type as category_name,
    coalesce(sku, plu) as sku,
    null as list_price,
    null as currency,
    true as is_active
from {{ ref('stg_toast__items') }}
