with source as (

    select * from {{ source('raw_clover', 'items_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as item_key,

        -- strings
        payload ->> 'name' as item_name,
        payload #>> '{categories,elements,0,name}' as category_name,
        nullif(payload ->> 'sku', '') as sku,
        payload ->> 'priceType' as price_type,

        -- numerics
        (payload ->> 'price')::numeric as price_minor,

        -- booleans
        coalesce((payload ->> 'available')::boolean, true) as is_available

    from source

)

select * from renamed
