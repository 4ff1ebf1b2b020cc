with source as (

    select * from {{ source('raw_square', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        line.value ->> 'uid' as line_uid,
        applied.value ->> 'uid' as applied_uid,
        applied.value ->> 'discount_uid' as discount_uid,

        -- strings
        applied.value #>> '{applied_money,currency}' as currency,

        -- numerics
        {{ from_minor_units("(applied.value -> 'applied_money')") }} as discount

    from source
    cross join lateral {{ elements("source.payload -> 'line_items'") }} with ordinality as line (value, position)
    cross join lateral {{ elements("line.value -> 'applied_discounts'") }} as applied (value)

)

select * from renamed
