with source as (

    select * from {{ source('raw_toast', 'menu_items_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as item_key,
        payload #>> '{_context,restaurant}' as location_key,

        -- strings
        payload ->> 'name' as item_name,
        payload ->> 'type' as item_type,
        payload ->> 'plu' as plu,
        payload ->> 'sku' as sku

    from source

)

select * from renamed
