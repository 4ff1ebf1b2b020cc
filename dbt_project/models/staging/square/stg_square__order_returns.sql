with source as (

    select * from {{ source('raw_square', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        returned.value ->> 'uid' as return_uid,
        returned.value ->> 'source_order_id' as source_order_key,

        -- numerics
        returned.position as return_number,
        coalesce({{ from_minor_units("(returned.value #> '{rounding_adjustment,amount_money}')") }}, 0) as rounding

    from source
    cross join lateral {{ elements("source.payload -> 'returns'") }} with ordinality as returned (value, position)

)

select * from renamed
