with source as (

    select * from {{ source('raw_toast', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        "check".value ->> 'guid' as check_key,
        charge.value ->> 'guid' as charge_key,

        -- strings
        charge.value ->> 'name' as charge_name,

        -- numerics
        coalesce((charge.value ->> 'chargeAmount')::numeric, 0) as amount,

        -- booleans
        coalesce((charge.value ->> 'gratuity')::boolean, false) as is_gratuity

    from source
    cross join lateral {{ elements("source.payload -> 'checks'") }} as "check" (value)
    cross join lateral {{ elements("\"check\".value -> 'appliedServiceCharges'") }} as charge (value)

)

select * from renamed
