-- What is sold is a variation of an item: lines refer to it.
with source as (

    select * from {{ source('raw_square', 'catalog_current') }}
    where payload ->> 'type' = 'ITEM'

),

renamed as (

    select
        -- ids
        source.source_id,
        variation.value ->> 'id' as item_key,
        source.natural_key as parent_item_key,
        coalesce(
            source.payload #>> '{item_data,reporting_category,id}',
            source.payload #>> '{item_data,categories,0,id}',
            source.payload #>> '{item_data,category_id}'
        ) as category_key,

        -- strings
        source.payload #>> '{item_data,name}' as item_name,
        variation.value #>> '{item_variation_data,name}' as variation_name,
        variation.value #>> '{item_variation_data,sku}' as sku,
        variation.value #>> '{item_variation_data,price_money,currency}' as currency,

        -- numerics
        {{ from_minor_units("(variation.value #> '{item_variation_data,price_money}')") }} as list_price,

        -- booleans
        not coalesce((variation.value ->> 'is_deleted')::boolean, false)
        and not coalesce((source.payload ->> 'is_deleted')::boolean, false) as is_active,

        -- times
        source.modified_at

    from source
    cross join lateral {{ elements("source.payload #> '{item_data,variations}'") }} as variation (value)

)

select * from renamed
