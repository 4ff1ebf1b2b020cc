with source as (

    select * from {{ source('raw_square', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        line.value ->> 'uid' as line_uid,
        line.value ->> 'catalog_object_id' as item_key,

        -- strings
        line.value ->> 'item_type' as item_type,
        line.value ->> 'name' as item_name,
        line.value ->> 'variation_name' as variation_name,
        coalesce(line.value #>> '{gross_sales_money,currency}', line.value #>> '{total_money,currency}') as currency,

        -- numerics
        line.position as line_number,
        (line.value ->> 'quantity')::numeric as quantity,
        {{ from_minor_units("(line.value -> 'base_price_money')") }} as unit_price,
        {{ from_minor_units("(line.value -> 'gross_sales_money')") }} as gross_sales,
        coalesce({{ from_minor_units("(line.value -> 'total_discount_money')") }}, 0) as discount,
        coalesce({{ from_minor_units("(line.value -> 'total_tax_money')") }}, 0) as tax

    from source
    cross join lateral {{ elements("source.payload -> 'line_items'") }} with ordinality as line (value, position)

)

select * from renamed
