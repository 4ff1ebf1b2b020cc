with source as (

    select * from {{ source('raw_square', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        tip.value ->> 'uid' as tip_uid,

        -- numerics
        coalesce({{ from_minor_units("(tip.value -> 'applied_money')") }}, 0) as tip

    from source
    cross join lateral {{ elements("source.payload -> 'returns'") }} with ordinality as returned (value, position)
    cross join lateral {{ elements("returned.value -> 'return_tips'") }} as tip (value)

)

select * from renamed
