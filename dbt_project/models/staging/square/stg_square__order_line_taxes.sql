with source as (

    select * from {{ source('raw_square', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        line.value ->> 'uid' as line_uid,
        applied.value ->> 'tax_uid' as tax_uid,

        -- numerics
        coalesce({{ from_minor_units("(applied.value -> 'applied_money')") }}, 0) as tax

    from source
    cross join lateral {{ elements("source.payload -> 'line_items'") }} with ordinality as line (value, position)
    cross join lateral {{ elements("line.value -> 'applied_taxes'") }} as applied (value)

)

select * from renamed
