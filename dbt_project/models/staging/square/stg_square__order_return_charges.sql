with source as (

    select * from {{ source('raw_square', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        charge.value ->> 'uid' as charge_uid,
        charge.value ->> 'source_service_charge_uid' as source_charge_uid,
        returned.value ->> 'source_order_id' as source_order_key,

        -- numerics
        coalesce({{ from_minor_units("(charge.value -> 'total_money')") }}, 0) as total,
        coalesce({{ from_minor_units("(charge.value -> 'total_tax_money')") }}, 0) as tax

    from source
    cross join lateral {{ elements("source.payload -> 'returns'") }} with ordinality as returned (value, position)
    cross join lateral {{ elements("returned.value -> 'return_service_charges'") }} as charge (value)

)

select * from renamed
