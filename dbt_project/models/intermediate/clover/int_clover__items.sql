-- An item whose price is keyed in has none in the catalogue. All items of a source belong to its one merchant.
with merchants as (

    select
        source_id,
        min(currency) as currency
    from {{ ref('stg_clover__locations') }}
    group by source_id

)

select
    items.source_id,
    items.item_key as natural_key,
    items.item_name,
    null as variation_name,
    items.category_name,
    items.sku,
    case
        when items.price_type <> 'VARIABLE'
            then items.price_minor * {{ by_minor_digits('merchants.currency', '1', '0.01', '0.001') }}
    end as list_price,
    merchants.currency,
    items.is_available as is_active
from {{ ref('stg_clover__items') }} as items
left join merchants
    on items.source_id = merchants.source_id
