with source as (

    select * from {{ source('raw_square', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        line.value ->> 'uid' as line_uid,
        modifier.value ->> 'uid' as modifier_uid,
        modifier.value ->> 'catalog_object_id' as item_key,

        -- strings
        line.value ->> 'item_type' as line_item_type,
        modifier.value ->> 'name' as modifier_name,
        coalesce(
            modifier.value #>> '{total_price_money,currency}', line.value #>> '{gross_sales_money,currency}'
        ) as currency,

        -- numerics
        modifier.position as modifier_number,
        coalesce((modifier.value ->> 'quantity')::numeric, 1) * (line.value ->> 'quantity')::numeric as quantity,
        {{ from_minor_units("(modifier.value -> 'base_price_money')") }} as unit_price,
        coalesce({{ from_minor_units("(modifier.value -> 'total_price_money')") }}, 0) as total_price

    from source
    cross join lateral {{ elements("source.payload -> 'line_items'") }} with ordinality as line (value, position)
    cross join lateral {{ elements("line.value -> 'modifiers'") }} with ordinality as modifier (value, position)

)

select * from renamed
