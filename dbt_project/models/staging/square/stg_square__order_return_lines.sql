with source as (

    select * from {{ source('raw_square', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        line.value ->> 'uid' as line_uid,
        line.value ->> 'source_line_item_uid' as source_line_uid,
        returned.value ->> 'source_order_id' as source_order_key,
        line.value ->> 'catalog_object_id' as item_key,

        -- strings
        line.value ->> 'item_type' as item_type,
        line.value ->> 'name' as item_name,
        line.value ->> 'variation_name' as variation_name,
        line.value #>> '{total_money,currency}' as currency,

        -- numerics
        (line.value ->> 'quantity')::numeric as quantity,
        coalesce({{ from_minor_units("(line.value -> 'total_money')") }}, 0) as total,
        coalesce({{ from_minor_units("(line.value -> 'total_tax_money')") }}, 0) as tax

    from source
    cross join lateral {{ elements("source.payload -> 'returns'") }} with ordinality as returned (value, position)
    cross join lateral {{ elements("returned.value -> 'return_line_items'") }} with ordinality as line (value, position)

)

select * from renamed
