with source as (

    select * from {{ source('raw_square', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        charge.value ->> 'uid' as charge_uid,

        -- strings
        charge.value ->> 'name' as charge_name,
        charge.value ->> 'type' as charge_type,

        -- numerics
        coalesce(
            {{ from_minor_units("(charge.value -> 'total_money')") }},
            {{ from_minor_units("(charge.value -> 'applied_money')") }},
            0
        ) as total,
        coalesce({{ from_minor_units("(charge.value -> 'total_tax_money')") }}, 0) as tax

    from source
    cross join lateral {{ elements("source.payload -> 'service_charges'") }} as charge (value)

)

select * from renamed
