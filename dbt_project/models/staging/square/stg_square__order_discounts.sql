with source as (

    select * from {{ source('raw_square', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        discount.value ->> 'uid' as discount_uid,
        discount.value ->> 'catalog_object_id' as discount_key,

        -- strings
        discount.value ->> 'name' as discount_name,
        lower(discount.value ->> 'type') as discount_type,
        case discount.value ->> 'scope' when 'ORDER' then 'order' when 'LINE_ITEM' then 'line' end as discount_scope

    from source
    cross join lateral {{ elements("source.payload -> 'discounts'") }} as discount (value)

)

select * from renamed
