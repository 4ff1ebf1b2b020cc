with source as (

    select * from {{ source('raw_toast', 'orders_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as order_key,
        "check".value ->> 'guid' as check_key,

        -- strings
        "check".value ->> 'displayNumber' as check_number,

        -- numerics
        ("check".value ->> 'amount')::numeric as amount,
        coalesce(("check".value ->> 'taxAmount')::numeric, 0) as tax,
        ("check".value ->> 'totalAmount')::numeric as total,

        -- booleans
        coalesce(("check".value ->> 'voided')::boolean, false) as is_void,
        coalesce(("check".value ->> 'deleted')::boolean, false) as is_deleted

    from source
    cross join lateral {{ elements("source.payload -> 'checks'") }} as "check" (value)

)

select * from renamed
