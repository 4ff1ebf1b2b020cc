select
    source_id,
    item_key as natural_key,
    item_name,
    null as variation_name,
    category_name,
    coalesce(custom_sku, system_sku) as sku,
    default_price as list_price,
    null as currency,  -- nowhere told
    not is_archived as is_active
from {{ ref('stg_lightspeed_r__items') }}
